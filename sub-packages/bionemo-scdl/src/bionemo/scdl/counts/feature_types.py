# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Which columns of a matrix measure what: gene expression, antibodies (ADT), hashtags, guides, peaks."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bionemo.core.errors import DataError


if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd


GENE_EXPRESSION = "Gene Expression"
ALL_FEATURES = "all"
TYPE_COLUMNS = ("feature_types", "feature_type")
"""Columns of ``var`` with the type; other tools keep biotypes (protein_coding, ...) in columns of such names."""
_GENE_EXPRESSION = frozenset({"gene expression", "gene_expression", "gex", "rna"})
# As Cell Ranger and published multimodal data write them, in lower case.
_OTHERS = frozenset(
    {
        "adt",
        "antibody capture",
        "antigen capture",
        "atac",
        "crispr guide capture",
        "custom",
        "hto",
        "multiplexing capture",
        "peaks",
        "vdj",
        "vdj-b",
        "vdj-t",
    }
)


@dataclass(frozen=True)
class FeatureSelection:
    """The columns of a matrix that are taken.

    Attributes:
        kept: [K] int64, column numbers in order, over the gene tables one after the other; None for all.
        report: What is left out, with numbers; empty where nothing is.
    """

    kept: "np.ndarray | None"
    report: str = ""


def select_features(tables: "Sequence[pd.DataFrame]", feature_type: str, name: str) -> FeatureSelection:
    """Choose the columns of one feature type.

    Args:
        tables: Descriptions of the columns, one table after the other. The column ``feature_types`` (or
            ``feature_type``, where it holds feature types) decides; a table without it holds genes.
        feature_type: ``"Gene Expression"`` (also where a table says ``GEX`` or ``rna``), another type as a table names
            it, in upper or lower case, or ``"all"``.
        name: Of the data, for messages.

    Raises:
        DataError: No column is of that type.

    >>> import pandas as pd
    >>> var = pd.DataFrame({"feature_types": ["Gene Expression", "Antibody Capture"]}, index=["CD4", "CD4"])
    >>> select_features([var], "Gene Expression", "pbmc").kept.tolist()
    [0]
    """
    import numpy as np  # not with the module: the flags of a command name its types, and --help is quick

    found = [_types_of(table) for table in tables]
    wants_genes = feature_type.strip().lower() in _GENE_EXPRESSION
    if feature_type == ALL_FEATURES or (wants_genes and all(types is None for types in found)):
        return FeatureSelection(None)
    if all(types is None for types in found):
        raise DataError(
            f"{name}: has no column feature_types in var, so {feature_type!r} (--feature-type) cannot be chosen."
        )
    types = np.concatenate(
        [
            np.full(len(table), GENE_EXPRESSION, dtype=object) if of_table is None else of_table
            for table, of_table in zip(tables, found, strict=True)
        ]
    )
    counts = Counter(types.tolist())
    wanted = {kind for kind in counts if _is_wanted(kind, feature_type, wants_genes=wants_genes)}
    kept = np.flatnonzero([kind in wanted for kind in types.tolist()])
    if not kept.size and len(types):
        listed = ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common(8))
        raise DataError(
            f"{name}: no feature is of type {feature_type!r}; found {listed}. "
            "Choose one of them, or 'all', with feature_type (--feature-type)."
        )
    if kept.size == len(types):
        return FeatureSelection(None)
    others = ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common() if kind not in wanted)
    chosen = "/".join(sorted(wanted))
    report = (
        f"{name}: {kept.size:,} of {len(types):,} features are taken ({chosen}); left out: {others}. "
        "Choose others with feature_type (--feature-type)"
    )
    return FeatureSelection(kept, report)


def _is_wanted(kind: str, feature_type: str, *, wants_genes: bool) -> bool:
    plain = kind.lower()
    return plain in _GENE_EXPRESSION if wants_genes else plain == feature_type.strip().lower()


def _types_of(table: "pd.DataFrame") -> "np.ndarray | None":
    """[G] text, the type of each column that a table describes; None where it does not tell types apart."""
    for column in TYPE_COLUMNS:
        if column in table and table[column].dtype.kind not in "biufcmM":
            values = table[column].astype(object)
            types: np.ndarray = values.where(values.notna(), "no type").map(lambda kind: str(kind).strip()).to_numpy()
            if any(kind.lower() in _GENE_EXPRESSION | _OTHERS for kind in set(types.tolist())):
                return types
    return None
