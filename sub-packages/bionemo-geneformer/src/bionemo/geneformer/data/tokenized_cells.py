# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Cells as lists of token ids, wherever they are kept: in memory, in a parquet file or in an Arrow dataset.

Letters: C cells, B cells of one request, n tokens of one request.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bionemo.core.buffers import BATCHES
from bionemo.core.errors import DataError, FormatError, MissingFileError


if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


FINGERPRINT_KEY = b"bionemo.vocabulary"
"""Where an Arrow schema's metadata keep the fingerprint of the vocabulary that the tokens are of."""


class TokenizedCells(Protocol):
    """What models, training and perturbation ask of tokenized cells."""

    @property
    def max_length(self) -> int:
        """Length in tokens that no cell exceeds."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[C] int64, tokens of each cell, special ones included."""

    def __len__(self) -> int:
        """C, the number of cells."""

    def read(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens of some cells.

        Args:
            indices: [B] int64, which cells, in any order, repeated or not.

        Returns:
            tokens: [n] int64, the cells one after the other.
            lengths: [B] int64, tokens of each; their sum is n.

        Raises:
            IndexError: There is no such cell.
        """


class TokenLists:
    """Cells kept in memory.

    Args:
        tokens: [n] integers, the cells one after the other.
        lengths: [C] integers, tokens of each cell; their sum is n.
        max_length: Length that no cell exceeds; the longest cell's unless given.

    Raises:
        DataError: The lengths do not fit the tokens, or exceed `max_length`.
    """

    def __init__(self, tokens: NDArray[np.integer], lengths: NDArray[np.integer], *, max_length: int | None = None):
        self.lengths: NDArray[np.int64] = np.asarray(lengths, dtype=np.int64)
        if int(self.lengths.sum()) != len(tokens):
            raise DataError(
                f"The cells' lengths sum to {int(self.lengths.sum())}, but there are {len(tokens)} tokens."
            )
        longest = int(self.lengths.max(initial=0))
        if max_length is not None and longest > max_length:
            raise DataError(f"A cell has {longest} tokens, more than max_length={max_length}.")
        self.max_length = longest if max_length is None else max_length
        self._tokens = np.asarray(tokens)
        self._starts = np.cumsum(self.lengths) - self.lengths

    @classmethod
    def from_lists(cls, cells: Iterable[Sequence[int]], *, max_length: int | None = None) -> "TokenLists":
        """Take one sequence of token ids for each cell."""
        arrays = [np.asarray(cell, dtype=np.int64) for cell in cells]
        lengths = np.array([len(cell) for cell in arrays], dtype=np.int64)
        return cls(np.concatenate([*arrays, np.empty(0, dtype=np.int64)]), lengths, max_length=max_length)

    def __len__(self) -> int:
        return len(self.lengths)

    def read(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens of some cells; see `TokenizedCells`."""
        indices = check_indices(indices, len(self))
        lengths = self.lengths[indices]
        starts = self._starts[indices]
        return join([self._tokens[a:b] for a, b in zip(starts, starts + lengths, strict=True)]), lengths


class ArrowTokens:
    """Cells in the column ``input_ids`` of an Arrow table, memory-mapped where the table is.

    Args:
        table: With a list column ``input_ids`` of integers, and any other columns.
        source: Name for messages.
        path: Where `open_tokenized` finds the table again: a pickled object then carries the path alone.

    Raises:
        FormatError: There is no such column.
        DataError: A cell is missing (null).
    """

    def __init__(self, table: "pa.Table", source: str, *, path: Path | None = None):
        import pyarrow as pa

        if "input_ids" not in table.column_names:
            raise FormatError(
                f"{source}: no column 'input_ids', found {table.column_names}. Tokenize the counts first."
            )
        column = table.column("input_ids")
        is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
        if not is_list or not pa.types.is_integer(column.type.value_type):
            raise FormatError(f"{source}: column 'input_ids' holds {column.type}, expected lists of integers.")
        if column.null_count:
            raise DataError(f"{source}: {column.null_count} cells have no tokens (null). Tokenize the counts again.")
        self.source = source
        self._path = path
        self._table = table
        # Views of the mapped memory: one array of tokens and one of starts for each chunk.
        self._chunks = [
            (chunk.values.to_numpy(zero_copy_only=False), chunk.offsets.to_numpy()) for chunk in column.chunks
        ]
        sizes = [len(offsets) - 1 for _, offsets in self._chunks]
        self._first_rows = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self.lengths: NDArray[np.int64] = np.concatenate(
            [np.empty(0, dtype=np.int64), *(np.diff(offsets) for _, offsets in self._chunks)], dtype=np.int64
        )
        self.max_length = int(self.lengths.max(initial=0))

    def __reduce__(self) -> tuple[Any, ...]:
        if self._path is None:
            return ArrowTokens, (self._table, self.source)
        return open_tokenized, (self._path,)

    @property
    def column_names(self) -> list[str]:
        """Columns of the table, ``input_ids`` included."""
        return list(self._table.column_names)

    @property
    def vocabulary_fingerprint(self) -> str | None:
        """Fingerprint of the vocabulary that the tokens are of, where the writer recorded it."""
        recorded = (self._table.schema.metadata or {}).get(FINGERPRINT_KEY)
        return None if recorded is None else recorded.decode()

    def column(self, name: str) -> NDArray[Any]:
        """[C] values of a column that says something about the cells.

        Raises:
            DataError: There is no such column.
        """
        if name not in self._table.column_names:
            raise DataError(f"{self.source}: no column {name!r}, found {self.column_names}.")
        column = self._table.column(name)
        if column.num_chunks and hasattr(column.chunk(0), "dictionary"):
            column = column.cast(column.type.value_type)
        values: NDArray[Any] = column.to_numpy()
        return values

    def obs(self) -> "pd.DataFrame":
        """Metadata of the cells: views of all columns but the tokens; text that repeats is categorical."""
        import pandas as pd
        import pyarrow as pa

        # Arrow's own memory, mapped or not, backs the columns; categories are what pandas makes of dictionaries.
        return self._table.drop_columns(["input_ids"]).to_pandas(
            types_mapper=lambda kind: None if pa.types.is_dictionary(kind) else pd.ArrowDtype(kind)
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def read(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens of some cells; see `TokenizedCells`."""
        indices = check_indices(indices, len(self))
        chunk_of = np.searchsorted(self._first_rows, indices, side="right") - 1
        slices = []
        for chunk, row in zip(chunk_of, indices - self._first_rows[chunk_of], strict=True):
            tokens, offsets = self._chunks[chunk]
            slices.append(tokens[offsets[row] : offsets[row + 1]])
        return join(slices), self.lengths[indices]


def open_tokenized(path: str | os.PathLike[str]) -> ArrowTokens:
    """Open tokenized cells.

    Args:
        path: A parquet file with a column ``input_ids`` (read into memory), or the folder of an Arrow dataset as
            `tokenize_geneformer` and Hugging Face datasets' ``save_to_disk`` write it (memory-mapped).

    Raises:
        MissingFileError: There is no such file or folder.
        FormatError: It is neither.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bionemo.geneformer.data.arrow_dataset import is_arrow_dataset, open_arrow_dataset

    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such file or folder.")
    if is_arrow_dataset(path):
        return ArrowTokens(open_arrow_dataset(path), str(path), path=path)
    if path.is_dir() or path.suffix != ".parquet":
        raise FormatError(f"{path}: expected the folder of an Arrow dataset (with state.json) or a .parquet file.")
    try:
        return ArrowTokens(pq.read_table(path), str(path), path=path)
    except pa.ArrowInvalid as error:
        raise FormatError(f"{path}: no parquet file ({error}).") from error


def check_indices(indices: NDArray[np.int64], num_cells: int) -> NDArray[np.int64]:
    """Return cell numbers as int64.

    Raises:
        IndexError: There is no such cell.
    """
    indices = np.asarray(indices, dtype=np.int64)
    if len(indices) and not (0 <= int(indices.min()) and int(indices.max()) < num_cells):
        raise IndexError(f"cells {int(indices.min())} to {int(indices.max())} were asked for: there are {num_cells}.")
    return indices


def join(slices: Sequence[NDArray[np.integer]]) -> NDArray[np.int64]:
    """Concatenate slices of token arrays into one new array."""
    tokens = BATCHES.empty(sum(map(len, slices)), np.int64)
    if slices:
        np.concatenate(slices, out=tokens)
    return tokens
