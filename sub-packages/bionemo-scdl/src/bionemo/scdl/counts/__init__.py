# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Counts of cells by genes from any file: one set of rules for the choice of matrix, features and values.

from bionemo.scdl.counts import open_counts

with open_counts("cells.h5ad") as counts:  # raw.X, X or layers/counts, whichever holds counts
    for block in counts.blocks(): ...
"""

from typing import TYPE_CHECKING

from bionemo.core.lazy import lazy_exports


if TYPE_CHECKING:
    from bionemo.scdl.counts.feature_types import ALL_FEATURES, GENE_EXPRESSION, FeatureSelection, select_features
    from bionemo.scdl.counts.source import AUTO, CountSource, open_counts
    from bionemo.scdl.counts.values import ValueSummary

__all__ = [
    "ALL_FEATURES",
    "AUTO",
    "GENE_EXPRESSION",
    "CountSource",
    "FeatureSelection",
    "ValueSummary",
    "open_counts",
    "select_features",
]

_MODULES = {
    "feature_types": ("ALL_FEATURES", "GENE_EXPRESSION", "FeatureSelection", "select_features"),
    "source": ("AUTO", "CountSource", "open_counts"),
    "values": ("ValueSummary",),
}
__getattr__ = lazy_exports(
    __name__, {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}
)
