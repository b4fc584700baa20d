# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Heads against transformers' classes, and their way through a checkpoint."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError, ConfigError
from bionemo.geneformer.api import (
    GeneformerWithHead,
    HeadConfig,
    build_geneformer,
    geneformer_config,
    load_finetuned,
    load_geneformer,
    save_finetuned,
)
from bionemo.llm.data.packing import pack_padded
from bionemo.llm.model.freezing import freeze_layers


SMALL = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "ffn_hidden_size": 48, "vocab_size": 60}
LENGTHS = (9, 30, 17)
CELLS = HeadConfig(task="cell-classification", classes=("B", "T", "NK"), label_column="cell_type", dropout=0.2)
GENES = HeadConfig(task="gene-classification", classes=("dosage", "free"))
VALUE = HeadConfig(task="regression")


def random_module(family: str, head: HeadConfig) -> GeneformerWithHead:
    module = GeneformerWithHead(build_geneformer(geneformer_config(family, **SMALL), seed=1).model, head).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        module.model.embedding.word_embeddings.weight[SMALL["vocab_size"] :].zero_()
    return module


def padded_cells(pad_token_id: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    batch = torch.full((len(LENGTHS), max(LENGTHS)), pad_token_id)
    for row, length in enumerate(LENGTHS):
        batch[row, :length] = torch.randint(5, 60, (length,), generator=generator)
    return batch


@pytest.mark.parametrize("head", [CELLS, GENES, VALUE], ids=lambda head: head.task)
@pytest.mark.parametrize("family", ["V1", "BIONEMO"])
def test_predictions_equal_transformers(family: str, head: HeadConfig, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    module = random_module(family, head)
    save_finetuned(module, tmp_path / "ours")
    written = json.loads((tmp_path / "ours/config.json").read_text())
    kind = "TokenClassification" if head is GENES else "SequenceClassification"
    assert written["architectures"] == [("Bert" if family == "V1" else "MegatronBert") + "For" + kind]
    reference = getattr(transformers, written["architectures"][0]).from_pretrained(tmp_path / "ours").eval()
    batch = padded_cells(module.model.pad_token_id)
    with torch.no_grad():
        ours = module(batch)
        packed = module.forward_packed(pack_padded(batch, batch != module.model.pad_token_id))
        oracle = [reference(row[row != module.model.pad_token_id].unsqueeze(0)).logits for row in batch]
    if head.is_per_cell:
        torch.testing.assert_close(ours, torch.cat(oracle), atol=1e-5, rtol=0)
        torch.testing.assert_close(packed, ours, atol=1e-5, rtol=0)
    else:
        torch.testing.assert_close(packed, torch.cat(oracle, dim=1)[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(ours[1, :30], oracle[1][0], atol=1e-5, rtol=0)

    reference.save_pretrained(tmp_path / "theirs")
    back = load_finetuned(tmp_path / "theirs")
    assert (back.config, back.head_config) == (module.config, module.head_config)
    state = module.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in back.state_dict().items())


def test_a_model_that_transformers_trained_opens(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        hidden_act="relu", id2label={0: "left", 1: "right"}, label2id={"left": 0, "right": 1},
    )  # fmt: skip
    reference = transformers.BertForSequenceClassification(config).eval()
    reference.save_pretrained(tmp_path / "theirs")
    module = load_finetuned(tmp_path / "theirs")
    assert module.head_config == HeadConfig(task="cell-classification", classes=("left", "right"), dropout=0.1)
    (cell,) = padded_cells(0)[1:2]
    with torch.no_grad():
        torch.testing.assert_close(module(cell.unsqueeze(0)), reference(cell.unsqueeze(0)).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["V1", "V2", "BIONEMO"])
def test_mean_pooling_averages_the_genes_and_says_so_in_the_file(family: str, tmp_path: Path) -> None:
    head = HeadConfig(task="cell-classification", classes=("a", "b"), pooling="mean")
    module = random_module(family, head)
    batch = padded_cells(module.model.pad_token_id)
    num_specials = len(module.config.tokens.special_tokens)
    batch[:, 0] = num_specials - 1  # a special token of every family, not padding in V2 and BIONEMO
    if family == "V1":
        batch[:, 0] = 1
    with torch.no_grad():
        mask = batch != module.model.pad_token_id
        packed = pack_padded(batch, mask)
        hidden = module.model.forward_packed(
            packed["input_ids"], packed["position_ids"], packed["cu_seqlens"], packed["max_seqlen"], skip_logits=True
        ).hidden_states
        expected = torch.stack([part[1:].mean(dim=0) for part in hidden.split(list(LENGTHS))])
        torch.testing.assert_close(module(batch), module.head(expected), atol=1e-5, rtol=0)
    save_finetuned(module, tmp_path / "checkpoint")
    assert load_finetuned(tmp_path / "checkpoint").head_config == head


def test_the_encoder_of_a_fine_tuned_model_gives_hidden_states_alone(tmp_path: Path) -> None:
    module = random_module("V1", CELLS)
    save_finetuned(module, tmp_path / "checkpoint")
    encoder = load_geneformer(tmp_path / "checkpoint")
    batch = padded_cells(0)
    packed = pack_padded(batch, batch != 0)
    arguments = (packed["input_ids"], packed["position_ids"], packed["cu_seqlens"], packed["max_seqlen"])
    with torch.no_grad():
        ours, theirs = (m.forward_packed(*arguments, skip_logits=True) for m in (encoder.model, module.model))
    assert torch.equal(ours.hidden_states, theirs.hidden_states)
    with pytest.raises(ConfigError, match="no masked-token head"):
        encoder(batch)


def test_frozen_layers_stay() -> None:
    module = random_module("V1", CELLS)
    freeze_layers(module.model, 1)
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    assert {name.split(".layers.")[1][0] for name in trained if ".layers." in name} == {"1"}
    assert not any("embedding" in name for name in trained)
    with pytest.raises(ConfigError, match="--num-frozen-layers 3: the model has 2 layers"):
        freeze_layers(module.model, 3)


def test_impossible_heads_and_other_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs at least two classes"):
        HeadConfig(task="cell-classification", classes=("B",))
    with pytest.raises(ConfigError, match="a regression has no classes"):
        HeadConfig(task="regression", classes=("a", "b"))
    with pytest.raises(ConfigError, match="task clustering: not one of"):
        HeadConfig(task="clustering")
    with pytest.raises(ConfigError, match="pooling max: not one of"):
        HeadConfig(task="regression", pooling="max")
    save_finetuned(random_module("V1", CELLS), tmp_path / "checkpoint")
    (tmp_path / "checkpoint/checksums.json").unlink()
    path = tmp_path / "checkpoint/config.json"
    written = json.loads(path.read_text())
    del written["geneformer_head"]
    path.write_text(json.dumps({**written, "architectures": ["BertForMaskedLM"]}))
    with pytest.raises(CheckpointError, match="BertForMaskedLM: no fine-tuned model"):
        load_finetuned(tmp_path / "checkpoint")
