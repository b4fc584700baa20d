# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A seed gives a model without memory the weights that it gives a model built the ordinary way, bit for bit."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.model import build_model
from bionemo.llm.training.ranks.deferred_init import build_recorded


VOCABULARY = SimpleNamespace(vocab_size=33, mask_token_id=32, pad_token_id=1)
SHAPE = {"num_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "seq_length": 32}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm_placement": "post", "num_token_types": 2, "share_embeddings_and_output_weights": True},
        {"position_embedding_type": "rope", "qk_layernorm": True},
    ],
)
def test_same_weights_as_one_process(changes: dict[str, object]) -> None:
    config = BioBertConfig(**SHAPE, **changes)
    expected = build_model(config, VOCABULARY, seed=7).state_dict()
    state_before = torch.random.get_rng_state()
    model, initialization = build_recorded(lambda: build_model(config, VOCABULARY))
    assert all(parameter.is_meta for parameter in model.parameters())
    found: dict[str, Tensor] = {}
    initialization.replay(7, lambda name, tensor: found.update({name: tensor.clone()}))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert torch.equal(torch.random.get_rng_state(), state_before)


def test_memory_holds_one_tensor_at_a_time() -> None:
    _, initialization = build_recorded(lambda: nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(3))))
    seen: list[Tensor] = []

    def keep_last(name: str, tensor: Tensor) -> None:
        seen[:] = [*seen[-1:], tensor]

    initialization.replay(0, keep_last)
    assert len({tensor.untyped_storage().data_ptr() for tensor in seen}) == 2
