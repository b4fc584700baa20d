# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Geneformer against transformers' BertForMaskedLM and MegatronBertForMaskedLM with random weights.

The oracle reads one cell at a time, unpadded: transformers 4.57 is off by 4e-2 on padded, masked rows.
"""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError, ConfigError, DataError
from bionemo.geneformer.api import (
    GeneformerConfig,
    GeneformerMaskedLM,
    build_geneformer,
    geneformer_config,
    load_geneformer,
    save_geneformer,
)
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.model.sizes import GENEFORMER_SIZES
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import V1
from bionemo.testing.masked_lm_parity import assert_equals_oracle, assert_padded_packed_and_alone_equal, padded


pytestmark = pytest.mark.nemo_env

LENGTHS = (5, 130, 61)
NUM_LAYERS = {"V1-10M": 6, "V1-40M": 4, "V2-104M": 2, "V2-316M": 1, "BIONEMO-10M": 6, "BIONEMO-106M": 2}
"""The 10M models in full, large ones with fewer layers of the published width."""
SMALL = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "ffn_hidden_size": 48, "vocab_size": 300}


def random_module(config: GeneformerConfig) -> GeneformerMaskedLM:
    """A model whose biases and norms are random too: zeros would hide a mistake."""
    module = build_geneformer(config, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        module.model.output_layer.bias[config.vocab_size :].zero_()
    return module


def hugging_face(directory: Path):
    """Open a checkpoint with the class of transformers that its config.json names."""
    transformers = pytest.importorskip("transformers")
    architecture = json.loads((directory / "config.json").read_text())["architectures"][0]
    return getattr(transformers, architecture).from_pretrained(directory).eval()


def cells(config: GeneformerConfig, lengths: tuple[int, ...] = LENGTHS) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    first_gene = len(config.tokens.special_tokens)
    found = [torch.randint(first_gene, config.vocab_size, (length,), generator=generator) for length in lengths]
    for cell in found:
        cell[1::6] = config.vocabulary.mask_token_id
    return found


@pytest.mark.parametrize("size", GENEFORMER_SIZES)
def test_padded_packed_and_alone_equal_hugging_face(size: str, tmp_path: Path) -> None:
    config = geneformer_config(size, num_layers=NUM_LAYERS[size])
    module = random_module(config)
    save_geneformer(module, tmp_path / "checkpoint")
    reference = hugging_face(tmp_path / "checkpoint")

    assert_padded_packed_and_alone_equal(module, reference, cells(config), config.vocabulary.pad_token_id)


def test_a_cell_as_long_as_the_context_equals_hugging_face_and_a_longer_one_is_refused(tmp_path: Path) -> None:
    config = geneformer_config("V2", **SMALL, seq_length=64)
    module = random_module(config)
    save_geneformer(module, tmp_path / "checkpoint")
    (cell,) = cells(config, (64,))
    with torch.no_grad():
        oracle = hugging_face(tmp_path / "checkpoint")(input_ids=cell.unsqueeze(0), output_hidden_states=True)
        ours = module(cell.unsqueeze(0), output_hidden_states=True)
    assert_equals_oracle(ours.token_logits[0], tuple(state[0] for state in ours.hidden_states), oracle)
    with pytest.raises(ConfigError, match="65 tokens exceeds the 64 learned positions"):
        module(torch.cat((cell, cell[:1])).unsqueeze(0))


@pytest.mark.parametrize("size", ["V1-10M", "BIONEMO-10M"])
def test_weights_survive_both_ways_bit_for_bit(size: str, tmp_path: Path) -> None:
    module = random_module(geneformer_config(size))
    save_geneformer(module, tmp_path / "ours")
    reference = hugging_face(tmp_path / "ours")
    state = module.model.state_dict()
    decoder = reference.state_dict()["cls.predictions.decoder.weight"]
    assert torch.equal(decoder, state["embedding.word_embeddings.weight"][: module.config.vocab_size])

    reference.save_pretrained(tmp_path / "theirs")
    back = load_geneformer(tmp_path / "theirs")
    assert back.config == module.config
    for name, tensor in back.model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize("family", ["V1", "V2", "BIONEMO"])
def test_a_model_made_by_transformers_opens_and_predicts_the_same(family: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = geneformer_config(family, **SMALL, seq_length={"V1": 2048, "V2": 4096, "BIONEMO": 2048}[family])
    prefix = "MegatronBert" if family == "BIONEMO" else "Bert"
    theirs = getattr(transformers, f"{prefix}Config")(
        vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=config.seq_length, hidden_act=config.activation_func, initializer_range=0.1,
        hidden_dropout_prob=0.02, pad_token_id=config.vocabulary.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        reference = getattr(transformers, f"{prefix}ForMaskedLM")(theirs).eval()
    reference.save_pretrained(tmp_path / "theirs")
    module = load_geneformer(tmp_path / "theirs")
    assert (module.config.variant, module.config.hidden_dropout) == (family, 0.02)
    (cell,) = cells(config, (40,))
    with torch.no_grad():
        oracle = reference(input_ids=cell.unsqueeze(0), output_hidden_states=True)
        ours = module(cell.unsqueeze(0), output_hidden_states=True)
    assert_equals_oracle(ours.token_logits[0], tuple(state[0] for state in ours.hidden_states), oracle)
    save_geneformer(module, tmp_path / "again")
    again = hugging_face(tmp_path / "again").state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in reference.state_dict().items())


def test_token_types_that_transformers_trained_into_a_bionemo_model_are_kept(tmp_path: Path) -> None:
    config = geneformer_config("BIONEMO", **SMALL)
    save_geneformer(random_module(config), tmp_path / "ours")
    reference = hugging_face(tmp_path / "ours")
    with torch.no_grad():
        reference.bert.embeddings.token_type_embeddings.weight.normal_(generator=torch.Generator().manual_seed(5))
    reference.save_pretrained(tmp_path / "theirs")
    (cell,) = cells(config, (40,))
    with torch.no_grad():
        oracle = reference(input_ids=cell.unsqueeze(0), output_hidden_states=True)
        ours = load_geneformer(tmp_path / "theirs")(cell.unsqueeze(0), output_hidden_states=True)
    assert_equals_oracle(ours.token_logits[0], tuple(state[0] for state in ours.hidden_states), oracle)


@pytest.mark.parametrize("size", GENEFORMER_SIZES)
def test_parameter_counts_are_the_published_ones(size: str) -> None:
    """V1 and V2 as Hugging Face counts them, BioNeMo's in Megatron's form with the padded vocabulary."""
    config = geneformer_config(size)
    with torch.device("meta"):
        module = build_geneformer(config)
    counted = sum(parameter.numel() for parameter in module.parameters())
    if config.norm_placement == "post":
        padding = config.padded_vocab_size(config.vocab_size) - config.vocab_size
        counted -= padding * (config.hidden_size + 1)
    assert counted == GENEFORMER_SIZES[size].num_parameters


@pytest.mark.parametrize("family", ["V1", "BIONEMO"])
def test_a_cell_does_not_see_its_neighbours_in_the_pack(family: str) -> None:
    config = geneformer_config(family, **SMALL)
    module = random_module(config)
    sequences = cells(config)
    changed = [sequences[0], sequences[1].flip(0), sequences[2]]
    with torch.no_grad():
        before, after = (
            module(padded(batch, config.vocabulary.pad_token_id)).token_logits for batch in (sequences, changed)
        )
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[2], after[2])
    assert not torch.equal(before[1], after[1])


def test_dictionaries_travel_with_the_model_and_must_be_its_own(tmp_path: Path) -> None:
    genes = {f"ENSG{number:011d}": 1.0 + number for number in range(298)}
    tokenizer = GeneTokenizer.from_medians_and_genes_dicts(genes, {"A1": "ENSG00000000001"}, variant=V1)
    config = geneformer_config("V1", **SMALL, vocabulary_fingerprint=tokenizer.fingerprint)
    module = random_module(config)
    module.dictionaries = Dictionaries(tokenizer, genes, {"Gm1": "ENSG00000000001"})
    save_geneformer(module, tmp_path / "checkpoint")
    found = load_geneformer(tmp_path / "checkpoint").dictionaries
    assert found.tokenizer.vocab == tokenizer.vocab
    assert found.tokenizer.gene_to_ens == {"A1": "ENSG00000000001"}
    assert found[1:] == (genes, {"Gm1": "ENSG00000000001"})
    hugging_face(tmp_path / "checkpoint")

    swapped = dict(zip(tokenizer.vocab, [0, 1, *range(299, 1, -1)], strict=True))
    module.dictionaries = Dictionaries(GeneTokenizer(swapped, {}), genes, {})
    with pytest.raises(CheckpointError, match="the vocabulary's fingerprint is"):
        save_geneformer(module, tmp_path / "other")
    (tmp_path / "checkpoint/checksums.json").unlink()
    GeneTokenizer({"<pad>": 0, "<mask>": 1, "ENSG00000000001": 2}, {}).save_vocab(
        tmp_path / "checkpoint/geneformer.vocab"
    )
    with pytest.raises(CheckpointError, match="number of tokens is 3, the model was trained with 300"):
        load_geneformer(tmp_path / "checkpoint")


def test_another_model_or_a_damaged_one_is_refused_by_name(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoint"
    save_geneformer(random_module(geneformer_config("V1", **SMALL)), directory)
    (directory / "checksums.json").unlink()
    written = json.loads((directory / "config.json").read_text())

    def refused(match: str, **changes: object) -> None:
        (directory / "config.json").write_text(json.dumps({**written, **changes}))
        with pytest.raises(CheckpointError, match=match):
            load_geneformer(directory)

    refused("model_type 'esm', expected one of bert, megatron-bert", model_type="esm")
    refused("activation_func silu: not one of", hidden_act="silu")
    refused("norm_placement post: Geneformer BIONEMO has pre", geneformer_variant="BIONEMO")
    refused("word_embeddings.weight has shape", vocab_size=301)
    refused("lack bert.encoder.layer.2", num_hidden_layers=3)
    refused("hold 16 tensors that Geneformer lacks", num_hidden_layers=1)
    with pytest.raises(CheckpointError, match="no such directory"):
        load_geneformer(tmp_path / "nowhere")


def test_unknown_names_and_contradictions_are_refused() -> None:
    with pytest.raises(ConfigError, match="size V3-1B: not one of V1-10M"):
        geneformer_config("V3-1B")
    with pytest.raises(ConfigError, match="Geneformer V1 has post"):
        geneformer_config("V1", norm_placement="pre")
    with pytest.raises(ConfigError, match="leaves no gene"):
        geneformer_config("V2", vocab_size=4)
    with pytest.raises(ConfigError, match="save_geneformer got a Linear"):
        save_geneformer(torch.nn.Linear(1, 1), "anywhere")


def test_ids_outside_the_vocabulary_are_refused() -> None:
    module = build_geneformer(geneformer_config("V1", **SMALL))
    assert module(torch.tensor([[5, 299]])).token_logits.shape == (1, 2, 300)
    with pytest.raises(DataError, match=r"holds the id 300, but the vocabulary has 300 tokens"):
        module(torch.tensor([[5, 300]]))
