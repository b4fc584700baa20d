# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Geneformer: raw counts to tokens, models, embeddings and perturbations."""

from typing import TYPE_CHECKING

from bionemo.core.lazy import lazy_exports


if TYPE_CHECKING:
    from bionemo.geneformer.geneformer import Geneformer


__all__ = ["Geneformer"]

__getattr__ = lazy_exports(__name__, {"Geneformer": "bionemo.geneformer.geneformer"})
