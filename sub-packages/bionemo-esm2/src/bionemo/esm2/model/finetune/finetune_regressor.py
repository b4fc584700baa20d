# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2.0 compatible name of `bionemo.esm2.model.finetune.sequence_model`."""

from bionemo.esm2.model.finetune.loss import RegressorLossReduction
from bionemo.esm2.model.finetune.sequence_model import ESM2FineTuneSeqConfig, ESM2FineTuneSeqModel, MegatronMLPHead


__all__ = ["ESM2FineTuneSeqConfig", "ESM2FineTuneSeqModel", "MegatronMLPHead", "RegressorLossReduction"]
