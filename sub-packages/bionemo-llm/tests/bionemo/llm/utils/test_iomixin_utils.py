# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Hyper-parameters of a dataclass: read, changed, and set apart from the value in use."""

import json
from dataclasses import dataclass, field

import pytest

from bionemo.llm.utils.iomixin_utils import IOMixinWithGettersSetters, WillHaveGetSetHparam


@dataclass
class Settings(IOMixinWithGettersSetters):
    num_layers: int
    lr: float = 1e-4
    layers: list[int] = field(default_factory=lambda: [1, 2])


def test_values_are_recorded_and_changed_together():
    settings = Settings(num_layers=3)
    settings.set_hparam("lr", 0.5)
    assert settings.lr == 0.5
    assert settings.get_hparam("lr") == 0.5


def test_a_record_may_differ_from_the_value_in_use():
    settings = Settings(num_layers=3)
    settings.set_hparam("lr", 0.5, also_change_value=False)
    assert settings.lr == 1e-4
    assert settings.get_hparams() == {"num_layers": 3, "lr": 0.5, "layers": [1, 2]}
    settings.set_hparam("lr", 0.7)
    assert (settings.lr, settings.get_hparam("lr")) == (0.7, 0.7)


def test_hparams_are_plain_values():
    assert json.loads(json.dumps(Settings(num_layers=3).get_hparams())) == {
        "num_layers": 3,
        "lr": 1e-4,
        "layers": [1, 2],
    }


def test_non_default_names():
    settings = Settings(num_layers=3)
    assert settings.get_non_default_hparams() == ["num_layers"]
    settings.layers = [1]
    settings.set_hparam("lr", 0.5, also_change_value=False)
    assert settings.get_non_default_hparams() == ["num_layers", "lr", "layers"]


@pytest.mark.parametrize("call", [lambda s: s.get_hparam("depth"), lambda s: s.set_hparam("depth", 1)])
def test_unknown_names_list_the_options(call):
    with pytest.raises(KeyError) as caught:
        call(Settings(num_layers=3))
    assert str(caught.value) == (
        "Attribute 'depth' not found in hyper-parameters. Options: ['layers', 'lr', 'num_layers']"
    )


def test_is_what_the_protocol_says():
    assert isinstance(Settings(num_layers=1), WillHaveGetSetHparam)
    assert not isinstance(object(), WillHaveGetSetHparam)
