# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Arrow datasets as Hugging Face datasets' ``load_from_disk`` reads them, without that package.

Such a dataset is a folder with ``state.json`` (which lists the data files), ``dataset_info.json`` (what the columns
hold) and ``data-XXXXX-of-XXXXX.arrow`` files in the Arrow stream format.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from bionemo.core.errors import FormatError


if TYPE_CHECKING:
    import pyarrow as pa


STATE_NAME = "state.json"
INFO_NAME = "dataset_info.json"


def is_arrow_dataset(path: Path) -> bool:
    """Tell whether a folder is a dataset."""
    return (path / STATE_NAME).is_file()


def open_arrow_dataset(path: Path) -> "pa.Table":
    """Map a dataset into memory.

    Raises:
        FormatError: A file is missing or damaged.
    """
    import pyarrow as pa

    try:
        state = json.loads((path / STATE_NAME).read_text(encoding="utf-8"))
        names = [file["filename"] for file in state["_data_files"]]
        tables = [pa.ipc.open_stream(pa.memory_map(str(path / name))).read_all() for name in names]
        return pa.concat_tables(tables)
    except (json.JSONDecodeError, KeyError, TypeError, OSError, pa.ArrowInvalid) as error:
        raise FormatError(f"{path}: damaged dataset ({error}). Tokenise the counts again.") from error
