# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A seed gives a model without memory the weights that it gives a model built the ordinary way, bit for bit."""

import gc
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.model import build_model
from bionemo.llm.training.ranks.deferred_init import DeferredModel, build_recorded


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
    _, initialization = build_recorded(lambda: nn.Sequential(*(nn.Linear(37, 41, bias=False) for _ in range(3))))
    in_memory: list[int] = []

    def count(name: str, tensor: Tensor) -> None:
        tensors = [each for each in gc.get_objects() if type(each) is Tensor and each.shape == (41, 37)]
        in_memory.append(len({each.data_ptr() for each in tensors if not each.is_meta}))

    initialization.replay(0, count)
    assert in_memory == [1, 1, 1]


def with_dropped_part() -> nn.Module:
    """A module whose second part is drawn and thrown away, so that the third depends on it."""
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(4, 2))
    del module[1]
    return module


def replace_first(module: nn.Sequential) -> None:
    module[0] = nn.Linear(4, 4, bias=False)


def test_only_what_is_missing_is_drawn_and_draws_before_it_count() -> None:
    """Two steps, each seeded anew; a stored tensor costs nothing, a dropped one advances the generator."""
    torch.manual_seed(5)
    last = with_dropped_part()[1].state_dict()
    torch.manual_seed(5)
    expected = {"0.weight": nn.Linear(4, 4, bias=False).weight, "1.weight": last["weight"], "1.bias": last["bias"]}
    module, initialization = build_recorded(with_dropped_part, replace_first)
    stored = {"1.weight": torch.full((2, 4), 7.0)}
    model = DeferredModel(module, initialization.weights(5, stored)).on_host()
    found = model.state_dict()
    assert found.keys() == expected.keys()
    assert torch.equal(found["1.weight"], stored["1.weight"])
    for name in ("0.weight", "1.bias"):
        assert torch.equal(found[name], expected[name]), name


class Operations(TorchDispatchMode):
    """Names of the operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        self.names.add(op.overloadpacket.__name__)
        return op(*args, **(kwargs or {}))


def test_nothing_is_drawn_where_all_is_stored() -> None:
    module, initialization = build_recorded(with_dropped_part)
    stored = {name: torch.ones(tensor.shape) for name, tensor in module.state_dict().items()}
    with Operations() as operations:
        DeferredModel(module, initialization.weights(5, stored)).on_host()
    assert {"copy_"} <= operations.names
    assert not {"uniform_", "normal_"} & operations.names
    assert all(bool((tensor == 1).all()) for tensor in module.state_dict().values())
