# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Cells for a model, whatever they are kept in: tokenised already, or counts that are ranked as they are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError, DataError, MissingFileError
from bionemo.geneformer.data.arrow_dataset import is_arrow_dataset
from bionemo.geneformer.data.cell_tokens import ArrowCells, CellTokens, open_cell_tokens
from bionemo.geneformer.data.count_cells import MIN_COVERAGE, CountCells
from bionemo.geneformer.data.count_sources import open_counts
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer


@dataclass(frozen=True, kw_only=True)
class CountReading:
    """How counts become cells; `CountCells` says what each means."""

    max_length: int | None = None
    gene_column: str | None = None
    allow_fractions: bool = False
    min_coverage: float = MIN_COVERAGE
    empty_cells: Literal["error", "skip"] = "error"
    refuse_unknown_genes: bool = False


@dataclass(frozen=True)
class OpenedCells:
    """Cells, and which of them hold a gene."""

    cells: CellTokens
    subset: NDArray[np.int64] | None
    """[n] int64, the cells to use; None: all."""


def open_cells(path: Path, dictionaries: Dictionaries, reading: CountReading) -> OpenedCells:
    """Open cells for a model.

    Args:
        path: Tokenised cells (a folder of `tokenize_geneformer` or a parquet file), an SCDL archive or an h5ad file.
        dictionaries: The model's vocabulary, and medians for counts.
        reading: How to read counts.

    Raises:
        MissingFileError: There is nothing at the path.
        ConfigError: Counts are to be ranked without medians.
        DataError: The cells are of another vocabulary, or the counts cannot be ranked.
    """
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such file or folder.")
    if path.suffix == ".parquet" or is_arrow_dataset(path):
        tokens = open_cell_tokens(path)
        check_tokens(tokens, dictionaries.tokenizer)
        return OpenedCells(tokens, _with_tokens(tokens, path, dictionaries.tokenizer, reading))
    if not dictionaries.medians:
        raise ConfigError(f"{path}: counts are ranked by --gene-medians; give the file, or tokenised cells.")
    cells = CountCells(
        open_counts(path),
        dictionaries,
        max_length=reading.max_length,
        gene_column=reading.gene_column,
        allow_fractions=reading.allow_fractions,
        min_coverage=reading.min_coverage,
    )
    if reading.refuse_unknown_genes:
        refuse_unknown_genes(cells)
    subset = cells.cells_with_genes(reading.empty_cells)
    return OpenedCells(cells, None if len(subset) == len(cells) else subset)


def check_tokens(cells: ArrowCells, tokenizer: GeneTokenizer) -> None:
    """Refuse tokens of another vocabulary, where their writer recorded which they are of.

    Raises:
        DataError: They are of another one.
    """
    found = cells.vocabulary_fingerprint
    if found is not None and found != tokenizer.fingerprint:
        raise DataError(
            f"{cells.source}: was tokenised with another vocabulary (fingerprint {found[:12]}) than the model's "
            f"({tokenizer.fingerprint[:12]}). Tokenise the counts again with the model's dictionary."
        )


def refuse_unknown_genes(cells: CountCells) -> None:
    """Refuse counts with a gene that the vocabulary lacks.

    Raises:
        DataError: The message names the first.
    """
    for table in cells.tables:
        if table.dropped:
            raise DataError(
                f"Provided gene identifier, {table.dropped[0]}, is not in the tokenizer vocab "
                f"({cells.source.name}: {len(table.dropped)} of {len(table.genes)} genes are not)."
            )


def _with_tokens(
    cells: ArrowCells, path: Path, tokenizer: GeneTokenizer, reading: CountReading
) -> NDArray[np.int64] | None:
    is_empty = cells.lengths <= tokenizer.variant.num_framing_tokens
    if not is_empty.size:
        raise DataError(f"{path}: is empty, there are no cells in it.")
    if is_empty.all():
        raise DataError(f"{path}: none of the {len(is_empty)} cells has genes.")
    if not is_empty.any():
        return None
    if reading.empty_cells == "error":
        raise DataError(
            f"{path}: cell {int(np.argmax(is_empty))} has no genes ({int(is_empty.sum())} such cells). "
            "Leave them out with --empty-cells skip."
        )
    return np.flatnonzero(~is_empty)
