# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Which columns of a matrix measure what: gene expression, antibodies (ADT), hashtags, guides, peaks."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bionemo.core.errors import DataError


if TYPE_CHECKING:
    import pandas as pd


GENE_EXPRESSION = "Gene Expression"
ALL_FEATURES = "all"
_COLUMNS = ("feature_types", "feature_type")
# As Cell Ranger writes them; other tools keep gene biotypes (protein_coding, ...) in a column of such a name.
_KNOWN = {
    GENE_EXPRESSION,
    "Antibody Capture",
    "Antigen Capture",
    "CRISPR Guide Capture",
    "Custom",
    "Multiplexing Capture",
    "Peaks",
    "VDJ",
    "VDJ-B",
    "VDJ-T",
}


@dataclass(frozen=True)
class FeatureSelection:
    """The columns of a matrix that are taken.

    Attributes:
        kept: [K] int64, column numbers in order; None for all.
        report: What is left out, with numbers; empty where nothing is.
    """

    kept: np.ndarray | None
    report: str = ""


def select_features(var: "pd.DataFrame", feature_type: str, name: str) -> FeatureSelection:
    """Choose the columns of one feature type.

    Args:
        var: Description of the columns. Its column ``feature_types`` (or ``feature_type``, where it holds types of
            Cell Ranger) decides; without it all columns are taken.
        feature_type: ``"Gene Expression"``, another type as the column names it, or ``"all"``.
        name: Of the data, for messages.

    Raises:
        DataError: No column is of that type.
    """
    column = next((column for column in _COLUMNS if column in var and _holds_types(var[column])), None)
    if feature_type == ALL_FEATURES or (column is None and feature_type == GENE_EXPRESSION):
        return FeatureSelection(None)
    if column is None:
        raise DataError(f"{name}: has no column feature_types in var, so {feature_type!r} cannot be chosen.")
    types = var[column].astype(object).where(var[column].notna(), "no type").map(str).to_numpy()
    kept = np.flatnonzero(types == feature_type)
    counts = Counter(types.tolist())
    if not kept.size and len(types):
        found = ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common(8))
        raise DataError(f"{name}: no feature is of type {feature_type!r}; found {found}. Choose one of them or 'all'.")
    if kept.size == len(types):
        return FeatureSelection(None)
    others = ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common() if kind != feature_type)
    report = f"{name}: {kept.size:,} of {len(types):,} features are taken ({feature_type}); left out: {others}"
    return FeatureSelection(kept, report)


def _holds_types(values: "pd.Series") -> bool:
    return values.dtype.kind not in "biufcmM" and not _KNOWN.isdisjoint(values.dropna().unique())
