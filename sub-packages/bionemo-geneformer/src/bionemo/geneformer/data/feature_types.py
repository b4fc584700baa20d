# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Columns that measure the same thing: of a multimodal matrix only gene expression, unless another type is asked for.

Antibodies and guides are often named like genes; added to the RNA counts they would change the ranks of a cell.

Letters: G columns of the gene tables, K stored values.
"""

import logging
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.geneformer.data.counts import Counts, CountSource
from bionemo.geneformer.data.gene_mapping import GeneColumns


if TYPE_CHECKING:
    import pandas as pd


logger = logging.getLogger(__name__)

TYPE_COLUMNS = ("feature_types", "feature_type")
"""Columns of ``var`` with the type; a column of such a name may also hold biotypes, which are no feature types."""
GENE_EXPRESSION = frozenset({"gene expression", "gene_expression", "gex", "rna"})
OTHER_TYPES = frozenset(
    {"antibody capture", "crispr guide capture", "multiplexing capture", "custom", "peaks", "adt", "atac", "hto"}
)
"""Names in 10x Genomics' files and in published multimodal data, in lower case."""


class SelectedFeatures:
    """The columns of one feature type of a count source; a `CountSource` itself.

    Args:
        source: All columns.
        is_kept: [G] bool, over the gene tables one after the other.
    """

    def __init__(self, source: CountSource, is_kept: NDArray[np.bool_]):
        self._source = source
        self.name = source.name
        ends = np.cumsum([table_length(table) for table in source.gene_tables])
        self.gene_tables: list[GeneColumns] = [
            {name: np.asarray(values, dtype=object)[kept].tolist() for name, values in table.items()}
            for table, kept in zip(source.gene_tables, np.split(is_kept, ends[:-1]), strict=True)
        ]
        self._new_column = np.where(is_kept, np.cumsum(is_kept) - 1, -1).astype(np.int32)

    def __len__(self) -> int:
        return len(self._source)

    def read(self, rows: NDArray[np.int64]) -> Counts:
        """Counts of cells; see `CountSource`."""
        counts = self._source.read(rows)
        columns = self._new_column[counts.columns]
        is_kept = columns >= 0
        row_ptr = np.concatenate([[0], np.cumsum(is_kept)])[counts.row_ptr]
        return Counts(counts.values[is_kept], columns[is_kept], row_ptr)

    def obs(self) -> "pd.DataFrame":
        """Metadata of the cells."""
        return self._source.obs()


def select_features(source: CountSource, feature_type: str | None = None) -> CountSource:
    """Keep the columns of one feature type, where the gene tables tell types apart.

    Args:
        source: The counts.
        feature_type: A value of ``feature_types``; None: gene expression.

    Returns:
        The source itself where every column is kept.

    Raises:
        DataError: No column is of the type, or a type was asked for and the gene tables do not tell types apart.
    """
    types = [type_of_columns(table) for table in source.gene_tables]
    found = Counter(value for column in types if column is not None for value in column.tolist())
    if not found:
        if feature_type is not None:
            raise DataError(
                f"{source.name}: the gene table has no feature types, so that {feature_type!r} (--feature-type) "
                f"cannot be chosen. Expected a column {TYPE_COLUMNS[0]!r}."
            )
        return source
    wanted = {value for value in found if is_wanted(value, feature_type)}
    if not wanted:
        listed = ", ".join(f"{value} ({number})" for value, number in found.most_common())
        raise DataError(
            f"{source.name}: no feature is of the type {feature_type or 'Gene Expression'}; there are {listed}. "
            "Choose one with feature_type (--feature-type)."
        )
    left_out = {value: number for value, number in found.most_common() if value not in wanted}
    if not left_out:
        return source
    num_kept = sum(found.values()) - sum(left_out.values())
    listed = ", ".join(f"{number} {value}" for value, number in left_out.items())
    logger.warning(
        "%s: %d features of the type %s are used; left out are %s. Choose another type with feature_type "
        "(--feature-type)",
        source.name, num_kept, "/".join(sorted(wanted)), listed,
    )  # fmt: skip
    masks = [
        np.ones(table_length(table), dtype=bool) if column is None else np.isin(column, sorted(wanted))
        for table, column in zip(source.gene_tables, types, strict=True)
    ]
    return SelectedFeatures(source, np.concatenate(masks))


def is_wanted(value: str, feature_type: str | None) -> bool:
    """Whether a type is the one asked for.

    >>> is_wanted("Gene Expression", None), is_wanted("Antibody Capture", None), is_wanted("ADT", "ADT")
    (True, False, True)
    """
    return value.lower() in GENE_EXPRESSION if feature_type is None else value == feature_type


def type_of_columns(table: GeneColumns) -> NDArray[np.str_] | None:
    """[G] str, the feature type of each column of one gene table; None where it does not tell types apart."""
    for name in TYPE_COLUMNS:
        if name in table:
            values = np.char.strip(np.asarray(table[name], dtype=str))
            if any(value.lower() in GENE_EXPRESSION | OTHER_TYPES for value in np.unique(values).tolist()):
                return values
    return None


def table_length(table: GeneColumns) -> int:
    """G, the number of columns that a gene table describes."""
    return len(next(iter(table.values())))
