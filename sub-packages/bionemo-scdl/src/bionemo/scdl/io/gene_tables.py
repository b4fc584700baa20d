# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""One gene table for rows that were measured with different genes, or with the same genes in another order."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bionemo.core.errors import ConfigError, DataError
from bionemo.scdl.index.feature_block import FeatureBlock, FrameDetails, arrays_equal


GENE_CHOICES = ("ragged", "union", "intersection")
_MAX_CONFLICTS = 10  # one in so many shared genes
_MIN_GENES = 20  # of tables that cannot differ in every gene by chance


@dataclass(frozen=True)
class MergedGenes:
    """A common gene table and the way to it.

    Attributes:
        block: The table.
        column_maps: For each source table [G] int64: new column number of each old one, -1 for genes left out.
    """

    block: FeatureBlock
    column_maps: list[np.ndarray]


def merge_genes(tables: Sequence[FeatureBlock], genes: str, gene_key: str | None = None) -> MergedGenes:
    """Build the union (in order of first appearance) or the intersection (in the first table's order).

    Columns that all tables have are kept. Where tables differ about a gene the first one counts, with a warning that
    names genes and values; a column in which they differ about more than a tenth of the shared genes (statistics of a
    data set, say) is left out, with a warning too.

    Args:
        tables: Gene tables, one value per gene in each column.
        genes: ``"union"`` or ``"intersection"``.
        gene_key: Column that identifies a gene. Unless given: the frame's index where every table has one, else the
            only column, else ``feature_id``.

    Raises:
        ConfigError: Another choice, or no column identifies the genes.
        DataError: A table names a gene twice, or one of 20 genes or more shares none with the others.
    """
    if genes not in GENE_CHOICES[1:]:
        raise ConfigError(f"genes is {genes!r}; it must be one of {', '.join(map(repr, GENE_CHOICES))}.")
    ids, id_name = _gene_ids(tables, gene_key)
    for position, names in enumerate(ids):
        if len(set(names)) < len(names):
            seen: set[str] = set()
            twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise DataError(
                f"Gene table {position} names {twice!r} twice, so columns cannot be matched. "
                "Make the names unique, choose another gene_key, or keep the tables ragged."
            )
    _check_shared(ids, tables, id_name)
    if genes == "union":
        kept = list(dict.fromkeys(name for names in ids for name in names))
    else:
        shared = set(ids[0]).intersection(*ids[1:])
        kept = [name for name in ids[0] if name in shared]
    position_of = {name: position for position, name in enumerate(kept)}
    maps = [np.array([position_of.get(name, -1) for name in names], dtype=np.int64) for names in ids]
    block = FeatureBlock(
        _common_columns(tables, maps, len(kept), id_name, kept),
        details=FrameDetails(
            index=np.array([*kept, None], dtype=object)[:-1], index_name=tables[0].details.index_name
        ),
    )
    return MergedGenes(block, maps)


def _check_shared(ids: Sequence[Sequence[str]], tables: Sequence[FeatureBlock], id_name: str | None) -> None:
    """Refuse tables of which one shares no gene with the others: one has symbols and another Ensembl ids, say."""
    occurrences = Counter(name for names in ids for name in names)
    for position, names in enumerate(ids):
        others = [table for table in ids if table is not names and len(table) >= _MIN_GENES]
        if len(names) >= _MIN_GENES and others and all(occurrences[name] == 1 for name in names):
            other = others[0]
            columns = [name for name in tables[0] if all(name in table for table in tables)]
            raise DataError(
                f"Gene table {position} shares no gene with the others by {id_name or 'the index of var'}: "
                f"{', '.join(names[:3])} against {', '.join(other[:3])}. Name the column that identifies a gene with "
                f"gene_key (--gene-key); all tables have the columns {columns}."
            )


def _gene_ids(tables: Sequence[FeatureBlock], gene_key: str | None) -> tuple[list[list[str]], str | None]:
    if gene_key is None and all(table.details.index is not None for table in tables):
        return [[str(name) for name in table.details.index] for table in tables], None  # type: ignore[union-attr]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    key = gene_key
    if key is None:
        key = shared[0] if len(shared) == 1 else "feature_id"
    if key not in shared:
        raise ConfigError(
            f"No gene_key: the gene tables share the columns {shared}, not {key!r}. "
            "Name the one that identifies a gene with gene_key (--gene-key)."
        )
    return [[str(name) for name in table[key]] for table in tables], key


def _common_columns(
    tables: Sequence[FeatureBlock], maps: Sequence[np.ndarray], num_genes: int, id_name: str | None, ids: list[str]
) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    dropped = []
    for name in dict.fromkeys(name for table in tables for name in table):
        merged = _merged_column(name, tables, maps, ids) if all(name in table for table in tables) else None
        if merged is None:
            dropped.append(name)
        else:
            columns[name] = merged
    if dropped:
        warnings.warn(
            f"Gene columns that only some archives have, or that differ about many genes, are left out: {dropped}.",
            UserWarning,
            stacklevel=5,
        )
    if not columns:
        columns[id_name or "var_feature_id"] = np.array([*ids, None], dtype=object)[:-1]
    return columns


def _merged_column(
    name: str, tables: Sequence[FeatureBlock], maps: Sequence[np.ndarray], ids: Sequence[str]
) -> np.ndarray | None:
    """Return the column over all kept genes; None where tables differ about more than a tenth of the shared genes."""
    merged = np.empty(len(ids), dtype=object)
    is_set = np.zeros(len(ids), dtype=bool)
    num_shared, conflicts = 0, []
    for table, column_map in zip(tables, maps, strict=True):
        kept = column_map >= 0
        targets, values = column_map[kept], np.asarray(table[name])[kept].astype(object)
        known = is_set[targets]
        num_shared += int(np.count_nonzero(known))
        if not arrays_equal(merged[targets[known]], values[known]):
            pairs = zip(targets[known].tolist(), values[known].tolist(), strict=True)
            conflicts += [(ids[gene], merged[gene], value) for gene, value in pairs if not _same(merged[gene], value)]
        merged[targets[~known]], is_set[targets] = values[~known], True
    if len(conflicts) > num_shared // _MAX_CONFLICTS:
        return None
    if conflicts:
        examples = "; ".join(f"{gene}: {first!r}, {other!r}" for gene, first, other in conflicts[:5])
        warnings.warn(
            f"Gene column {name!r}: the archives differ about {len(conflicts)} of {num_shared} shared genes; the "
            f"first archive's value is kept ({examples}).",
            UserWarning,
            stacklevel=6,
        )
    dtypes = {np.asarray(table[name]).dtype for table in tables}
    dtype = dtypes.pop() if len(dtypes) == 1 else None
    return merged if dtype is None or dtype.kind == "O" else merged.astype(dtype)


def _same(a: Any, b: Any) -> bool:
    return arrays_equal(np.array([a, None], dtype=object)[:1], np.array([b, None], dtype=object)[:1])
