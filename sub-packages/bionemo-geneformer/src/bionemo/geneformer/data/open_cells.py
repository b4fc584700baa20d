# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Open cells for a model, whatever file they are in: tokens, or counts that are tokenized as they are read.

Letters: C cells of the data.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError, DataError, MissingFileError
from bionemo.geneformer.data.arrow_dataset import is_arrow_dataset
from bionemo.geneformer.data.cell_ids import distinct_ids
from bionemo.geneformer.data.count_sources import open_counts
from bionemo.geneformer.data.counts import CountSource
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.tokenize_on_read import MIN_COVERAGE, TokenizedOnRead
from bionemo.geneformer.data.tokenized_cells import ArrowTokens, TokenizedCells, open_tokenized
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer


if TYPE_CHECKING:
    import pandas as pd


ID_COLUMN = "cell_id"
"""Where tokenized cells keep their ids."""


@dataclass(frozen=True, kw_only=True)
class CountReading:
    """How counts become tokens; `open_counts` and `TokenizedOnRead` describe the fields."""

    max_length: int | None = None
    counts_layer: str | None = None
    feature_type: str | None = None
    gene_column: str | None = None
    allow_fractions: bool = False
    min_coverage: float = MIN_COVERAGE
    empty_cells: Literal["error", "skip"] = "error"
    refuse_unknown_genes: bool = False


@dataclass(frozen=True)
class Cells:
    """Tokens of cells with their metadata.

    Attributes:
        tokens: The tokens of all C cells.
        read_obs: Reads the metadata, a frame of C rows; called once, when something asks for it.
        subset: [n] int64 ascending, the cells that hold a gene; None: all.
        name: For messages.
        id_column: Column of ``obs`` with the ids of the cells; None: its index.
        number_repeated_ids: Whether the row number is added to ids that repeat.
    """

    tokens: TokenizedCells
    read_obs: Callable[[], "pd.DataFrame"]
    subset: NDArray[np.int64] | None = None
    name: str = "cells"
    id_column: str | None = None
    number_repeated_ids: bool = False

    @functools.cached_property
    def obs(self) -> "pd.DataFrame":
        """Metadata of the cells, C rows."""
        return self.read_obs()

    @functools.cached_property
    def ids(self) -> NDArray[np.str_]:
        """[C] str.

        Raises:
            DataError: There is no such column.
        """
        ids: NDArray[np.str_]
        if self.id_column is not None:
            ids = self.texts(self.id_column)
        else:
            ids = np.asarray(self.obs.index.astype(str), dtype=str)
        return distinct_ids(ids, self.name) if self.number_repeated_ids else ids

    @property
    def indices(self) -> NDArray[np.int64]:
        """[n] int64 ascending, the cells to use."""
        return np.arange(len(self.tokens), dtype=np.int64) if self.subset is None else self.subset

    def texts(self, column: str) -> NDArray[np.str_]:
        """[C] str, a column of ``obs``; a missing value is ``""``.

        Raises:
            DataError: There is no such column.
        """
        import pandas as pd

        if column not in self.obs.columns:
            raise DataError(f"{self.name}: no obs column {column!r}, found {list(map(str, self.obs.columns))}.")
        codes, names = pd.factorize(self.obs[column])  # missing values have the code -1, the last name
        texts: NDArray[np.str_] = np.array([*map(str, names), ""])[codes]
        return texts


def open_cells(
    path: Path, dictionaries: Dictionaries, reading: CountReading, *, id_column: str | None = None
) -> Cells:
    """Open cells for a model.

    Args:
        path: Tokenized cells (a folder of `tokenize_geneformer` or a parquet file), or counts; see `open_counts`.
        dictionaries: The model's vocabulary, and medians for counts.
        reading: How to read counts.
        id_column: Column of the cells' ids; None: the index of ``obs``; of tokenized cells the column ``cell_id``,
            or else the row number.

    Raises:
        MissingFileError: There is nothing at the path.
        ConfigError: Counts are to be ranked without medians.
        DataError: The cells are of another vocabulary, or the counts cannot be ranked.
    """
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such file or folder.")
    if path.suffix == ".parquet" or is_arrow_dataset(path):
        tokens = open_tokenized(path)
        check_vocabulary(tokens, dictionaries.tokenizer)
        subset = _cells_with_tokens(tokens, dictionaries.tokenizer, reading.empty_cells)
        is_own = id_column is None and ID_COLUMN in tokens.column_names
        return Cells(
            tokens, tokens.obs, subset, str(path), ID_COLUMN if is_own else id_column, number_repeated_ids=is_own
        )
    if not dictionaries.medians:
        raise ConfigError(f"{path}: counts are ranked by --gene-medians; give the file, or tokenized cells.")
    source = open_counts(
        path,
        layer=reading.counts_layer,
        feature_type=reading.feature_type,
        allow_fractions=reading.allow_fractions,
    )
    return tokenize_counts(source, dictionaries, reading, name=str(path), id_column=id_column)


def tokenize_counts(
    source: CountSource,
    dictionaries: Dictionaries,
    reading: CountReading,
    *,
    name: str,
    id_column: str | None = None,
) -> Cells:
    """Make cells of counts; they are tokenized as they are read.

    Args:
        source: The counts.
        dictionaries: The model's vocabulary and medians.
        reading: How to read counts.
        name: For messages about ``obs``.
        id_column: Column of the cells' ids; None: the index of ``obs``.

    Raises:
        DataError: The counts cannot be ranked.
    """
    tokens = TokenizedOnRead(
        source,
        dictionaries,
        max_length=reading.max_length,
        gene_column=reading.gene_column,
        allow_fractions=reading.allow_fractions,
        min_coverage=reading.min_coverage,
    )
    if reading.refuse_unknown_genes:
        refuse_unknown_genes(tokens)
    subset = tokens.cells_with_genes(reading.empty_cells)
    return Cells(
        tokens,
        source.obs,
        None if len(subset) == len(tokens) else subset,
        name,
        id_column,
        number_repeated_ids=id_column is None,
    )


def check_vocabulary(cells: ArrowTokens, tokenizer: GeneTokenizer) -> None:
    """Refuse tokens of another vocabulary, where their writer recorded which they are of.

    Raises:
        DataError: They are of another one.
    """
    found = cells.vocabulary_fingerprint
    if found is not None and found != tokenizer.fingerprint:
        raise DataError(
            f"{cells.source}: was tokenized with another vocabulary (fingerprint {found[:12]}) than the model's "
            f"({tokenizer.fingerprint[:12]}). Tokenize the counts again with the model's dictionary."
        )


def refuse_unknown_genes(cells: TokenizedOnRead) -> None:
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


def _cells_with_tokens(
    cells: ArrowTokens, tokenizer: GeneTokenizer, on_empty: Literal["error", "skip"]
) -> NDArray[np.int64] | None:
    is_empty = cells.lengths <= tokenizer.variant.num_framing_tokens
    if not is_empty.size:
        raise DataError(f"{cells.source}: is empty, there are no cells in it.")
    if is_empty.all():
        raise DataError(f"{cells.source}: none of the {len(is_empty)} cells has genes.")
    if not is_empty.any():
        return None
    if on_empty == "error":
        raise DataError(
            f"{cells.source}: cell {int(np.argmax(is_empty))} has no genes ({int(is_empty.sum())} such cells). "
            "Leave them out with --empty-cells skip."
        )
    return np.flatnonzero(~is_empty)
