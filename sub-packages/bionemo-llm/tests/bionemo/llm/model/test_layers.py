# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The query scaling of ESM-2, and Transformer Engine's norm where it is not installed."""

import importlib.util
from types import SimpleNamespace

import pytest
import torch

from bionemo.core.errors import MissingDependencyError
from bionemo.llm.model.layers import ESM2QueryScaling, TELayerNorm


@pytest.mark.parametrize("head_dim", [16, 24, 32, 64, 128])
def test_scales_by_the_root_of_the_head_dim(head_dim):
    config = SimpleNamespace(hidden_size=4 * head_dim, num_attention_heads=4, kv_channels=None)
    query = torch.randn(7, 2, 4, head_dim, generator=torch.Generator().manual_seed(1))
    # Hugging Face multiplies by the same float, so the result is equal to the last bit.
    assert torch.equal(ESM2QueryScaling(config)(query), query * head_dim**-0.5)


def test_head_dim_of_its_own_wins():
    config = SimpleNamespace(hidden_size=64, num_attention_heads=4, kv_channels=4)
    assert ESM2QueryScaling(config)(torch.ones(1)).item() == 0.5


def test_fills_megatrons_query_norm_slot():
    from megatron.core.transformer.spec_utils import build_module
    from megatron.core.transformer.transformer_config import TransformerConfig

    config = TransformerConfig(num_layers=1, hidden_size=32, num_attention_heads=2)
    module = build_module(ESM2QueryScaling, hidden_size=16, config=config, eps=1e-5)
    query = torch.ones(3, 1, 2, 16, dtype=torch.bfloat16)
    assert module(query).dtype == torch.bfloat16
    assert torch.equal(module(query), query / 4)
    assert not module.state_dict()


@pytest.mark.skipif(importlib.util.find_spec("transformer_engine") is not None, reason="Transformer Engine is here")
def test_transformer_engine_is_asked_for_only_when_built():
    config = SimpleNamespace(sequence_parallel=False, layernorm_zero_centered_gamma=False)
    with pytest.raises(MissingDependencyError, match=r"transformer_engine\.pytorch is not installed.*pip install"):
        TELayerNorm(config, hidden_size=8)
