# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible inputs of ESM-2 in miniature: a SQLite database of proteins and parquet tables of clusters."""

import contextlib
import sqlite3
from pathlib import Path

import numpy as np

from bionemo.testing.proteins import AMINO_ACIDS


MOCK_PROTEIN_LENGTHS = {"UniRef90_A": 20, "UniRef90_B": 20, "UniRef90_C": 20, "UniRef50_A": 15, "UniRef50_B": 17}
"""Residues of the five mock proteins."""


def create_mock_protein_dataset(tmp_path: Path) -> Path:
    """Write ``protein_dataset.db``: table ``protein(id TEXT PRIMARY KEY, sequence TEXT)`` with five proteins.

    The sequences are drawn from the 20 amino acids, always the same.
    """
    rng = np.random.default_rng(42)
    rows = [(id, "".join(rng.choice(list(AMINO_ACIDS), size=size))) for id, size in MOCK_PROTEIN_LENGTHS.items()]
    path = Path(tmp_path) / "protein_dataset.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE protein (id TEXT PRIMARY KEY, sequence TEXT)")
        connection.executemany("INSERT INTO protein VALUES (?, ?)", rows)
    return path


def create_mock_parquet_train_val_inputs(tmp_path: Path) -> tuple[Path, Path]:
    """Write ``train_clusters.parquet`` (lists in column ``ur90_id``) and ``valid_clusters.parquet`` (``ur50_id``).

    Raises:
        ImportError: pyarrow is not installed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    train_path, valid_path = (Path(tmp_path) / f"{split}_clusters.parquet" for split in ("train", "valid"))
    pq.write_table(pa.table({"ur90_id": [["UniRef90_A"], ["UniRef90_B", "UniRef90_C"]]}), train_path)
    valid_ids = ["UniRef50_A", "UniRef50_B", "UniRef90_A", "UniRef90_B"]
    pq.write_table(pa.table({"ur50_id": valid_ids}), valid_path)
    return train_path, valid_path
