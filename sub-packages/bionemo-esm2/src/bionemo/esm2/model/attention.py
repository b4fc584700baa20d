# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible names of ESM-2's attention; the one implementation is ``bionemo.llm.model.attention``."""

from bionemo.llm.model.attention import PackedCoreAttention


__all__ = ["ESM2DotProductAttention", "ESM2TEDotProductAttention"]

ESM2DotProductAttention = PackedCoreAttention
ESM2TEDotProductAttention = PackedCoreAttention
