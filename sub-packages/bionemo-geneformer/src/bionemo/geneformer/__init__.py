# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Geneformer: raw counts to tokens, models, embeddings and perturbations."""

from typing import TYPE_CHECKING

from bionemo.core.lazy import lazy_exports


if TYPE_CHECKING:
    from bionemo.geneformer.api import load_geneformer
    from bionemo.geneformer.geneformer import Geneformer
    from bionemo.geneformer.train_config import TrainGeneformerConfig


__all__ = ("Geneformer", "TrainGeneformerConfig", "load_geneformer")

__getattr__ = lazy_exports(
    __name__,
    {
        "Geneformer": "bionemo.geneformer.geneformer",
        "TrainGeneformerConfig": "bionemo.geneformer.train_config",
        "load_geneformer": "bionemo.geneformer.api",
    },
)
