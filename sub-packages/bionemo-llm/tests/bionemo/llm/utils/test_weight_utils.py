# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Weights of a checkpoint in a model with another head."""

import pytest
import torch
from torch import nn

from bionemo.core.errors import CheckpointError
from bionemo.llm.utils.weight_utils import load_weights_skipping_prefixes


def _model(head: str, num_outputs: int = 1, hidden_size: int = 3) -> nn.Module:
    torch.manual_seed(hidden_size + num_outputs)
    return nn.ModuleDict({"encoder": nn.Linear(hidden_size, hidden_size), head: nn.Linear(hidden_size, num_outputs)})


def test_a_new_head_keeps_its_initial_values(caplog):
    model, state = _model("regression_head", 2), _model("lm_head", 5).state_dict()
    head = model["regression_head"].weight.clone()
    skipped = load_weights_skipping_prefixes(model, state, ["regression_head", "lm_head"], "ckpt")
    assert skipped == ["regression_head.bias", "regression_head.weight"]
    assert torch.equal(model["encoder"].weight, state["encoder.weight"])
    assert torch.equal(model["regression_head"].weight, head)


def test_a_head_of_another_shape_is_skipped_by_name():
    model, state = _model("head", 2), _model("head", 5).state_dict()
    load_weights_skipping_prefixes(model, state, ("head.",), "ckpt")
    assert torch.equal(model["encoder"].bias, state["encoder.bias"])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (_model("other").state_dict(), r"^ckpt: lacks 2 parameters of the model, first head\.bias"),
        ({**_model("head").state_dict(), "extra": torch.ones(1)}, r"ckpt: holds 1 parameters that the model lacks"),
        (_model("head", hidden_size=4).state_dict(), "another model size"),
    ],
)
def test_other_differences_are_refused_and_change_nothing(state, message):
    model = _model("head", 1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_weights_skipping_prefixes(model, state, [], "ckpt")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
