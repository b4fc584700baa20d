# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2.0 compatible name of `bionemo.esm2.model.finetune.token_model`."""

from bionemo.esm2.model.finetune.loss import ClassifierLossReduction
from bionemo.esm2.model.finetune.token_model import (
    ESM2FineTuneTokenConfig,
    ESM2FineTuneTokenModel,
    MegatronConvNetHead,
)


__all__ = ["ClassifierLossReduction", "ESM2FineTuneTokenConfig", "ESM2FineTuneTokenModel", "MegatronConvNetHead"]
