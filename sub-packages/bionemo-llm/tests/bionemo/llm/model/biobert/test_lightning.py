# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The established factory and steps, on padded and packed batches."""

from types import SimpleNamespace

import pytest
import torch

from bionemo.core.errors import DataError
from bionemo.llm.data.packing import pack_padded
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.lightning import (
    BioBertLightningModule,
    bert_forward_step,
    biobert_data_step,
    biobert_lightning_module,
    get_packed_seq_params,
)
from bionemo.llm.model.biobert.model import build_model


TOKENIZER = SimpleNamespace(vocab_size=33, mask_token_id=32, pad_token_id=1)
CONFIG = BioBertConfig(num_layers=1, hidden_size=32, num_attention_heads=4, hidden_dropout=0.0, attention_dropout=0.0)


def padded_batch() -> dict[str, torch.Tensor]:
    text = torch.tensor([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1]])
    labels = torch.tensor([[-100, 5, -100, 7, -100], [-100, 8, -100, -100, -100]])
    return {"text": text, "attention_mask": text != 1, "labels": labels, "loss_mask": labels >= 0, "extra": text}


def test_padded_and_packed_batches_have_the_same_loss() -> None:
    module = biobert_lightning_module(CONFIG, tokenizer=TOKENIZER)
    module.configure_model()
    module.eval()
    batch = padded_batch()
    loss_sum, count = module.loss(batch)
    packed = pack_padded(batch["text"], batch["attention_mask"], labels=batch["labels"])
    output = bert_forward_step(module.module, packed)
    expected = torch.nn.functional.cross_entropy(output["token_logits"], output["row_labels"], reduction="sum")
    assert count == 3
    # The 95 padding columns of the established layout take no probability.
    torch.testing.assert_close(loss_sum, expected)


def test_data_step_keeps_what_the_model_reads() -> None:
    assert biobert_data_step(iter([(padded_batch(), 0, 0)])).keys() == {
        "text",
        "attention_mask",
        "labels",
        "loss_mask",
    }
    packed = pack_padded(padded_batch()["text"], padded_batch()["attention_mask"])
    assert biobert_data_step(iter([packed])).keys() == packed.keys()


def test_established_packed_description_is_translated() -> None:
    batch = {"cu_seqlens": torch.tensor([[0, 3, 10, -1, -1]], dtype=torch.int32)}
    translated = get_packed_seq_params(batch)
    assert translated["cu_seqlens"].tolist() == [0, 3, 10]
    assert translated["max_seqlen"] == 7
    batch |= {"cu_seqlens_argmin": torch.tensor(2), "max_seqlen": torch.tensor(9)}
    translated = get_packed_seq_params(batch)
    assert translated["cu_seqlens"].tolist() == [0, 3]
    assert translated["max_seqlen"] == 9
    with pytest.raises(DataError, match="describes no sequence"):
        get_packed_seq_params({"cu_seqlens": torch.tensor([[0, -1]])})


def test_old_name_takes_old_arguments() -> None:
    module = BioBertLightningModule(CONFIG, tokenizer=TOKENIZER, forward_step_function=bert_forward_step)
    module.configure_model()
    assert module.module is not None
    first = module.module
    module.configure_model()
    assert module.module is first


def test_output_switches_and_pooling() -> None:
    from dataclasses import replace

    config = replace(CONFIG, include_hiddens=True, include_embeddings=True, include_input_ids=True)
    model = build_model(config, TOKENIZER, seed=1).eval()
    batch = padded_batch()
    output = model(batch["text"], batch["attention_mask"])
    hidden = output["hidden_states"]
    assert hidden.shape == (2, 5, 32)
    torch.testing.assert_close(output["embeddings"][0], hidden[0, 1:4].mean(0))
    torch.testing.assert_close(output["embeddings"][1], hidden[1, 1:2].mean(0))
    assert torch.equal(output["input_ids"], batch["text"])
    assert "token_logits" not in build_model(replace(CONFIG, skip_logits=True), TOKENIZER)(batch["text"])


def test_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two = build_model(CONFIG, TOKENIZER, seed=1), build_model(CONFIG, TOKENIZER, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    other = build_model(CONFIG, TOKENIZER, seed=2)
    assert not torch.equal(one.embedding.word_embeddings.weight, other.embedding.word_embeddings.weight)


def test_sequence_beyond_the_learned_positions_is_refused() -> None:
    from bionemo.core.errors import ConfigError

    model = build_model(BioBertConfig(num_layers=1, hidden_size=32, num_attention_heads=4, seq_length=4), TOKENIZER)
    with pytest.raises(ConfigError, match="5 tokens exceeds the 4 learned positions"):
        model(torch.full((1, 5), 7))
