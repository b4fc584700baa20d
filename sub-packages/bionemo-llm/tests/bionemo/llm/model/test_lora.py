# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Adapters change nothing at first, train alone, and merge exactly."""

from types import SimpleNamespace

import pytest
import torch

from bionemo.core.errors import ConfigError
from bionemo.llm.checkpoints.hf_tensors import split_qkv
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.model import build_model
from bionemo.llm.model.lora import add_lora, merge_lora


TOKENIZER = SimpleNamespace(vocab_size=33, mask_token_id=32, pad_token_id=1)
CONFIG = BioBertConfig(num_layers=2, hidden_size=32, num_attention_heads=4, hidden_dropout=0.0, attention_dropout=0.0)
IDS = torch.tensor([[0, 5, 6, 7, 2]])


def logits(model):
    return model.forward_padded(IDS).token_logits


def test_adapters_train_alone_and_merge_exactly() -> None:
    model = build_model(CONFIG, TOKENIZER, seed=1)
    names, before = set(model.state_dict()), logits(model)
    add_lora(model, rank=2, alpha=4.0)
    torch.testing.assert_close(logits(model), before, atol=0, rtol=0)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * 4 * 2
    assert {name.rpartition(".")[2] for name in trained} == {"down", "up"}
    assert trained["encoder.layers.0.self_attention.linear_qkv.parametrizations.weight.0.down"].shape == (2, 32)

    optimizer = torch.optim.SGD(trained.values(), lr=0.1)
    for _ in range(2):  # the second step moves what the zeros of the first one held back
        optimizer.zero_grad()
        logits(model).square().mean().backward()
        optimizer.step()
    adapted = logits(model)
    assert (adapted - before).abs().max() > 1e-4
    merge_lora(model)
    assert set(model.state_dict()) == names
    torch.testing.assert_close(logits(model), adapted, atol=0, rtol=0)


def test_impossible_adapters_are_refused() -> None:
    with pytest.raises(ConfigError, match="LoRA rank 0"):
        add_lora(build_model(CONFIG, TOKENIZER, seed=1), rank=0)
    with pytest.raises(ConfigError, match="LoRA targets query: the model has no such layer"):
        add_lora(build_model(CONFIG, TOKENIZER, seed=1), rank=1, targets=("query",))


def test_query_key_and_value_have_an_update_of_their_own() -> None:
    model = build_model(CONFIG, TOKENIZER, seed=1)
    plain = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = logits(model)
    add_lora(model, rank=2, alpha=3.0, targets=("linear_qkv",), separate_qkv_heads=4)
    torch.testing.assert_close(logits(model), before, atol=0, rtol=0)
    layer = model.encoder.layers[1].self_attention.linear_qkv
    update = layer.parametrizations.weight[0].parts["key"]
    with torch.no_grad():
        update.up.normal_()
    merge_lora(model)
    changed = split_qkv(layer.weight - plain["encoder.layers.1.self_attention.linear_qkv.weight"], 4)
    torch.testing.assert_close(changed["key"], 1.5 * update.up @ update.down)
    assert not changed["query"].any()
    assert not changed["value"].any()
