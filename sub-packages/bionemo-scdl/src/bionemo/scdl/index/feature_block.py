# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""One table of features: plain columns, plus what a pandas frame holds beside them.

The columns are stored as parquet of plain types, which every release of the loader reads. The frame's index (barcodes,
Ensembl ids) and its categories go into an Arrow file beside it, ``frame_{i}.arrow``, which older releases ignore.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bionemo.core.errors import DataError, FormatError


if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


_METADATA_KEY = b"bionemo.scdl.frame"


@dataclass
class FrameDetails:
    """What plain columns cannot express.

    Attributes:
        index: Names of the rows of the frame, or None where they are unknown.
        index_name: Name of that index.
        categories: Column name → ``{"values": [...], "ordered": bool}`` of categorical columns.
        nullable: Column name → pandas' name of a nullable dtype, for example ``"Int64"``.
    """

    index: np.ndarray | None = None
    index_name: str | None = None
    categories: dict[str, dict[str, Any]] = field(default_factory=dict)
    nullable: dict[str, str] = field(default_factory=dict)

    def is_empty(self) -> bool:
        """Whether there is nothing to store."""
        return self.index is None and not self.categories and not self.nullable

    def joined(self, other: "FrameDetails") -> "FrameDetails":
        """The details of two frames of equal columns, one below the other."""
        both = self.index is not None and other.index is not None
        categories = {
            name: {
                "values": list(dict.fromkeys([*kind["values"], *other.categories[name]["values"]])),
                "ordered": kind == other.categories[name] and kind["ordered"],
            }
            for name, kind in self.categories.items()
            if name in other.categories
        }
        return FrameDetails(
            index=np.concatenate([self.index, other.index]) if both else None,  # type: ignore[list-item]  # both
            index_name=self.index_name,
            categories=categories,
            nullable={name: dtype for name, dtype in self.nullable.items() if other.nullable.get(name) == dtype},
        )


class FeatureBlock(Mapping[str, np.ndarray]):
    """Columns by name, all of one length; columns read from a file become NumPy arrays when first asked for."""

    def __init__(
        self,
        arrays: Mapping[str, Any] | None = None,
        *,
        table: "pa.Table | None" = None,
        details: FrameDetails | None = None,
    ) -> None:
        """Take arrays, or an Arrow table, of equal lengths.

        Raises:
            ValueError: The lengths differ.
        """
        self._arrays: dict[str, np.ndarray] = {name: np.asarray(values) for name, values in (arrays or {}).items()}
        self._table = table
        self.details = details or FrameDetails()
        self._names = list(self._arrays) if table is None else list(table.column_names)
        lengths = {len(values) for values in self._arrays.values()}
        if len(lengths) > 1:
            raise DataError("All feature arrays must have the same length")
        self.num_entries = lengths.pop() if lengths else (table.num_rows if table is not None else 0)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            if self._table is None or name not in self._names:
                raise KeyError(name)
            self._arrays[name] = _to_numpy(self._table.column(name))
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))

    def take(self, rows: Any) -> dict[str, np.ndarray]:
        """Some entries of every column, by a slice or positions."""
        return {name: self[name][rows] for name in self._names}

    def joined(self, other: "FeatureBlock") -> "FeatureBlock":
        """This block with another of the same columns below it."""
        arrays = {name: np.concatenate([self[name], other[name]]) for name in self._names}
        return FeatureBlock(arrays, details=self.details.joined(other.details))

    def same_table(self, other: "FeatureBlock") -> bool:
        """Whether both describe the same features in the same order; a missing value equals a missing value."""
        mine, theirs = self.details.index, other.details.index
        if mine is not None and theirs is not None and not arrays_equal(mine, theirs):
            return False
        return set(self) == set(other) and all(arrays_equal(self[name], other[name]) for name in self)

    @classmethod
    def from_frame(cls, frame: "pd.DataFrame", index_column: str) -> "FeatureBlock":
        """Take a pandas frame; a frame without columns contributes its index under ``index_column``.

        Raises:
            DataError: A column mixes types that no table column can hold.
        """
        import pandas as pd

        details = FrameDetails(
            index=np.asarray(frame.index.astype(str), dtype=object),
            index_name=None if frame.index.name is None else str(frame.index.name),
        )
        arrays: dict[str, np.ndarray] = {}
        for position, name in enumerate(map(str, frame.columns)):
            column = frame.iloc[:, position]
            dtype = column.dtype
            if name in arrays:
                raise DataError(f"Column {name!r} occurs twice. Rename one of the two.")
            if isinstance(dtype, pd.CategoricalDtype):
                details.categories[name] = {
                    "values": [_plain_scalar(value) for value in dtype.categories],
                    "ordered": bool(dtype.ordered),
                }
                column = column.astype(dtype.categories.dtype if not column.isna().any() else object)
            elif isinstance(dtype, pd.api.extensions.ExtensionDtype):
                details.nullable[name] = str(dtype)
            arrays[name] = _column_to_numpy(column, name)
        if not arrays:
            arrays[index_column] = np.asarray(frame.index)
        return cls(arrays, details=details)

    def to_frame(self) -> "pd.DataFrame":
        """The pandas frame: index, categories and nullable dtypes as they were where they are known."""
        import pandas as pd

        columns = {}
        for name in self._names:
            values: Any = self[name]
            if name in self.details.categories:
                kind = self.details.categories[name]
                values = pd.Categorical(values, categories=kind["values"], ordered=kind["ordered"])
            elif name in self.details.nullable:
                values = pd.array(values, dtype=self.details.nullable[name])
            columns[name] = values
        index = self.details.index
        frame = pd.DataFrame(columns, index=None if index is None else pd.Index(index))
        frame.index.name = self.details.index_name
        return frame

    def write(self, parquet_path: Path, details_path: Path) -> None:
        """Write the columns, and the details where there are any."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(self.to_table(), parquet_path)
        if not self.details.is_empty():
            index = self.details.index
            about = {
                "index_name": self.details.index_name,
                "categories": self.details.categories,
                "nullable": self.details.nullable,
            }
            table = pa.table({} if index is None else {"index": pa.array(index, pa.large_string())})
            table = table.replace_schema_metadata({_METADATA_KEY: json.dumps(about).encode()})
            with pa.OSFile(str(details_path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)

    @classmethod
    def read(cls, parquet_path: Path, details_path: Path) -> "FeatureBlock":
        """Read what :meth:`write` wrote; the details may be absent.

        Raises:
            FormatError: A file is damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(parquet_path) as file:
                table = file.read()
            details = FrameDetails()
            if details_path.exists():
                with pa.OSFile(str(details_path), "rb") as source:
                    stored = pa.ipc.open_file(source).read_all()
                about = json.loads(stored.schema.metadata[_METADATA_KEY])
                index = _to_numpy(stored.column("index")) if stored.num_columns else None
                details = FrameDetails(index, about["index_name"], about["categories"], about["nullable"])
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise FormatError(
                f"{parquet_path}: cannot be read as a feature table ({error}). Convert again."
            ) from error
        return cls(table=table, details=details)

    def to_table(self) -> "pa.Table":
        """The columns as an Arrow table of plain types; what Arrow cannot type becomes text."""
        import pyarrow as pa

        if self._table is not None:
            return self._table.replace_schema_metadata(None)
        return pa.table({name: _to_arrow(self._arrays[name]) for name in self._names})


def arrays_equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two columns hold the same values; a missing value (NaN, None) equals a missing value."""
    if a.shape != b.shape:
        return False
    if a.dtype == object or b.dtype == object:
        import pandas as pd  # its missing values (NA, NaT) answer neither == nor != with a truth value

        missing_a, missing_b = np.asarray(pd.isna(a)), np.asarray(pd.isna(b))
        return np.array_equal(missing_a, missing_b) and a[~missing_a].tolist() == b[~missing_b].tolist()
    if a.dtype.kind in "fc" and b.dtype.kind in "fc":
        return np.array_equal(a, b, equal_nan=True)
    return np.array_equal(a, b)


def _to_arrow(values: np.ndarray) -> "pa.Array":
    import pyarrow as pa

    try:
        return pa.array(values, from_pandas=values.dtype == object)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return pa.array([None if value is None else str(value) for value in values.tolist()])


def _to_numpy(column: "pa.ChunkedArray") -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count and (pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        return np.array([*column.to_pylist(), None], dtype=object)[:-1]  # floats would change large integers
    return np.asarray(column.to_numpy())


def _column_to_numpy(column: Any, name: str) -> np.ndarray:
    """Values of a pandas column; missing ones are None in object arrays."""
    import pyarrow as pa

    if column.dtype.kind in "biufMm" and isinstance(column.dtype, np.dtype):
        return np.asarray(column)
    missing = column.isna().to_numpy()
    if isinstance(column.dtype, np.dtype) or missing.any():
        values = column.to_numpy(dtype=object)
        values = np.where(missing, None, values) if missing.any() else values
    else:
        values = column.to_numpy()
    try:
        pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"Column {name!r} mixes types ({error}). Make it text or numbers, then convert.") from error
    return np.asarray(values)


def _plain_scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
