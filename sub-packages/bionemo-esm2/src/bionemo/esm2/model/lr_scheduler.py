# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible path of the pretraining schedule, which lives in ``bionemo.llm.model.lr_scheduler``."""

from bionemo.llm.model.lr_scheduler import WarmupAnnealDecayHold


__all__ = ("WarmupAnnealDecayHold",)
