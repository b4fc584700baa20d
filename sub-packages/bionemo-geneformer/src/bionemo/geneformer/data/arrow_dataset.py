# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Arrow datasets as Hugging Face datasets' ``load_from_disk`` reads them, without that package.

Such a dataset is a folder with ``state.json`` (which lists the data files), ``dataset_info.json`` (what the columns
hold) and ``data-XXXXX-of-XXXXX.arrow`` files in the Arrow stream format.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bionemo.core.errors import FormatError
from bionemo.core.files import atomic_file, write_json


if TYPE_CHECKING:
    import pyarrow as pa


STATE_NAME = "state.json"
INFO_NAME = "dataset_info.json"

# Arrow's and the dataset package's names of the plain types, where they differ.
_TYPE_NAMES = {"double": "float64", "float": "float32", "halffloat": "float16"}


def is_arrow_dataset(path: Path) -> bool:
    """Return whether a folder is a dataset."""
    return (path / STATE_NAME).is_file()


def open_arrow_dataset(path: Path) -> "pa.Table":
    """Map a dataset into memory.

    Raises:
        FormatError: A file is missing or damaged.
    """
    import pyarrow as pa

    try:
        state = json.loads((path / STATE_NAME).read_text(encoding="utf-8"))
        return pa.concat_tables([open_shard(path / file["filename"]) for file in state["_data_files"]])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise FormatError(f"{path}: damaged dataset ({error}). Tokenize the counts again.") from error


def open_shard(path: Path) -> "pa.Table":
    """Map one data file into memory."""
    import pyarrow as pa

    return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()


def shard_name(number: int, num_shards: int) -> str:
    """Name of a data file."""
    return f"data-{number:05d}-of-{num_shards:05d}.arrow"


def with_features(schema: "pa.Schema") -> "pa.Schema":
    """Describe the columns in a schema's metadata as the dataset package does."""
    described = {b"huggingface": json.dumps({"info": {"features": features(schema)}}).encode()}
    return schema.with_metadata({**(schema.metadata or {}), **described})


def write_shard(path: Path, schema: "pa.Schema", batches: Iterable["pa.RecordBatch"]) -> None:
    """Write one data file, atomically, batch by batch."""
    import pyarrow as pa

    with atomic_file(path) as file, pa.ipc.new_stream(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def write_index(folder: Path, schema: "pa.Schema", names: list[str]) -> None:
    """Write what makes the data files of a folder a dataset."""
    info = {"citation": "", "description": "", "features": features(schema), "homepage": "", "license": ""}
    write_json(folder / INFO_NAME, info)
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": hashlib.sha256("".join(names).encode()).hexdigest()[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    write_json(folder / STATE_NAME, state)


def features(schema: "pa.Schema") -> dict[str, Any]:
    """The columns in the words of the dataset package; every release reads this older form of lists."""
    return {field.name: _feature(field.type) for field in schema}


def _feature(kind: "pa.DataType") -> dict[str, Any]:
    if hasattr(kind, "value_field"):
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    name = str(kind)
    return {"dtype": _TYPE_NAMES.get(name, name), "_type": "Value"}
