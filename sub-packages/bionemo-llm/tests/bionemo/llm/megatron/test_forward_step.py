# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A pack through one rank's part: with its tail, with static shapes and empty, always the same loss."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bionemo.llm.data.packing import build_packed_batch
from bionemo.llm.lightning import packed_forward_step, packed_loss
from bionemo.llm.megatron.forward_step import find_label_rows, one_token_pack, place_forward_step
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.model import build_model
from bionemo.llm.training.static_forward import StaticShapes


pytestmark = pytest.mark.nemo_env

TOKENIZER = SimpleNamespace(vocab_size=33, mask_token_id=32, pad_token_id=1)
CONFIG = BioBertConfig(num_layers=1, hidden_size=32, num_attention_heads=4, hidden_dropout=0.0, attention_dropout=0.0)


def pack(lengths: list[int]) -> dict:
    rng = np.random.default_rng(0)
    sizes = np.array(lengths, dtype=np.int64)
    batch = build_packed_batch(
        rng.integers(4, 30, sizes.sum()), sizes, np.arange(len(sizes)), max_tokens=64, pad_token_id=1
    )
    batch["labels"][: sizes.sum() : 3] = batch["input_ids"][: sizes.sum() : 3]
    return dict(batch)


def test_static_shapes_change_no_loss() -> None:
    model, batch = build_model(CONFIG, TOKENIZER, seed=1), pack([20, 13, 9])
    expected, count = packed_loss(batch, packed_forward_step(model, batch))
    plain = batch | find_label_rows(batch, model)
    static = StaticShapes(24)(batch) | {"num_tokens": 64, "max_seqlen": 24}
    static |= find_label_rows(static, model)
    for prepared in (plain, static):
        loss, number = packed_loss(prepared, place_forward_step(model, prepared))
        torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)
        assert int(number) == int(count) == 14


def test_a_pack_that_only_fills_up_a_step_has_no_loss() -> None:
    model, batch = build_model(CONFIG, TOKENIZER, seed=1), pack([])
    assert batch["num_tokens"] == 0
    batch |= one_token_pack(batch)
    batch |= find_label_rows(batch, model)
    loss, number = packed_loss(batch, place_forward_step(model, batch))
    assert (float(loss), int(number)) == (0.0, 0)
    loss.backward()
