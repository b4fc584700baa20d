# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The shared types fit the package's own model and loss."""

import torch

from bionemo.llm import api
from bionemo.llm.model.biobert.model import MegatronBioBertModel
from bionemo.llm.model.loss import BERTMLMLossWithReduction


def test_own_model_and_loss_are_of_these_types():
    assert issubclass(MegatronBioBertModel, api.BionemoMegatronModel)
    assert isinstance(BERTMLMLossWithReduction(), api.MegatronLossReduction)
    assert not isinstance(torch.nn.CrossEntropyLoss(), api.MegatronLossReduction)


def test_type_variables_are_bound_to_them():
    assert api.MegatronModelType.__bound__ is api.BionemoMegatronModel
    assert api.MegatronLossType.__bound__ is api.MegatronLossReduction
