# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch

from bionemo.core import api
from bionemo.core.model import config


class LinearConfig(api.BionemoTrainableModelConfig[torch.nn.Linear, torch.nn.MSELoss]):
    def configure_model(self, size):
        return torch.nn.Linear(size, 1)

    def get_loss_reduction_class(self):
        return torch.nn.MSELoss


def test_a_configuration_builds_its_model():
    built = LinearConfig()
    assert isinstance(built, api.BionemoModelConfig)
    assert built.configure_model(3).weight.shape == (1, 3)
    assert built.get_loss_reduction_class() is torch.nn.MSELoss


@pytest.mark.parametrize("incomplete", [api.BionemoModelConfig, api.BionemoTrainableModelConfig])
def test_interfaces_cannot_be_built(incomplete):
    with pytest.raises(TypeError, match="configure_model"):
        incomplete()


def test_names():
    assert set(api.__all__) == {"BionemoModelConfig", "BionemoTrainableModelConfig", "Model", "ModelOutput"}
    assert set(config.__all__) == {*api.__all__, "LossType", "ModelType"}
    assert all(getattr(api, name) is getattr(config, name) for name in api.__all__)
    assert config.ModelOutput.__covariant__
    assert config.ModelType.__bound__.__origin__ is config.Model
