# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible parquet files that say which proteins form a cluster.

Training: column ``ur90_id``, a list of member ids for each UniRef50 cluster. Validation: column ``ur50_id``, one id
for each row. The ids stay in Arrow's compact form: about 20 bytes each instead of some 80 as Python text.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError, FormatError, MissingFileError
from bionemo.esm2.data.sequence_store import Clusters


TRAIN_COLUMN = "ur90_id"
VALID_COLUMN = "ur50_id"


class ClusterFileNotFoundError(MissingFileError, ValueError):
    """The cluster file does not exist; also the ValueError that BioNeMo Framework 2 raised."""


class ClusterIds(Sequence[list[str]]):
    """Clusters as lists of ids.

    Args:
        member_ids: Arrow array of text, the members of all clusters one after the other.
        offsets: [C + 1] int64, cluster c is ``member_ids[offsets[c]:offsets[c + 1]]``.
    """

    def __init__(self, member_ids: Any, offsets: NDArray[np.int64]):
        self._member_ids = member_ids
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, idx: Any) -> Any:
        if isinstance(idx, slice):
            return [self[i] for i in range(*idx.indices(len(self)))]
        if not -len(self) <= idx < len(self):
            raise IndexError(f"cluster {idx} is out of range: there are {len(self)}.")
        idx = int(idx) % len(self)
        first, last = int(self._offsets[idx]), int(self._offsets[idx + 1])
        return self._member_ids.slice(first, last - first).to_pylist()

    @property
    def num_members(self) -> int:
        """Ids of all clusters together."""
        return int(self._offsets[-1])

    @property
    def clusters(self) -> Clusters:
        """The clusters as numbers: member m is the m-th id."""
        return Clusters(self._offsets, np.arange(self.num_members, dtype=np.int64))

    def members(self, idxs: NDArray[np.int64]) -> list[str]:
        """Ids by their number among all members."""
        import pyarrow as pa

        ids: list[str] = self._member_ids.take(pa.array(idxs)).to_pylist()
        return ids


def read_train_clusters(path: str | os.PathLike[str]) -> ClusterIds:
    """Read the column ``ur90_id`` of a training cluster file.

    Args:
        path: Parquet file.

    Raises:
        ClusterFileNotFoundError: There is no such file.
        FormatError: It is not parquet, has no such column, or the column holds no lists of text.
        DataError: A cluster is empty.
    """
    import pyarrow as pa

    column = _read_column(path, TRAIN_COLUMN, "Training")
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise FormatError(f"{path}: column {TRAIN_COLUMN!r} must hold lists of ids, found {column.type}.")
    lengths = np.asarray(column.value_lengths().fill_null(0), dtype=np.int64)
    if len(empty := np.flatnonzero(lengths == 0)):
        raise DataError(f"{path}: Cluster {int(empty[0])} is empty. Each cluster needs at least one member.")
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return ClusterIds(_as_text(path, TRAIN_COLUMN, column.flatten()), offsets)


def create_valid_clusters(cluster_file: str | os.PathLike[str]) -> ClusterIds:
    """Read the column ``ur50_id`` of a validation cluster file: each row is a cluster of one.

    Args:
        cluster_file: Parquet file.

    Raises:
        ClusterFileNotFoundError: There is no such file.
        FormatError: It is not parquet, has no such column, or the column does not hold text.
    """
    column = _read_column(cluster_file, VALID_COLUMN, "Validation")
    ids = _as_text(cluster_file, VALID_COLUMN, column)
    return ClusterIds(ids, np.arange(len(ids) + 1, dtype=np.int64))


def _read_column(path: str | os.PathLike[str], name: str, kind: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not Path(path).is_file():
        raise ClusterFileNotFoundError(f"Cluster file {path} not found. Check the path.")
    try:
        found = pq.read_schema(path).names
        if name not in found:
            raise FormatError(f"{kind} cluster file must contain a column {name!r}: {path} has {found}.")
        column = pq.read_table(path, columns=[name]).column(name)
    except pa.ArrowException as error:
        raise FormatError(f"{path}: is not a readable parquet file: {error}.") from error
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=column.type)


def _as_text(path: str | os.PathLike[str], name: str, values: Any) -> Any:
    import pyarrow as pa

    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)) or values.null_count:
        raise FormatError(
            f"{path}: column {name!r} must hold ids as text without missing values, found {values.type} with "
            f"{values.null_count} missing."
        )
    return values.cast(pa.large_string())  # offsets of 64 bits: hundreds of millions of ids
