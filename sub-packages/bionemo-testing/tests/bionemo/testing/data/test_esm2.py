# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import sqlite3

import pytest

from bionemo.testing.data.esm2 import create_mock_parquet_train_val_inputs, create_mock_protein_dataset


def test_protein_database(tmp_path):
    path = create_mock_protein_dataset(tmp_path)
    assert path == tmp_path / "protein_dataset.db"
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT id, sequence FROM protein").fetchall()
        columns = connection.execute("PRAGMA table_info(protein)").fetchall()
    connection.close()
    assert [column[1:3] + column[5:] for column in columns] == [("id", "TEXT", 1), ("sequence", "TEXT", 0)]
    lengths = {id: len(sequence) for id, sequence in rows}
    assert lengths == {"UniRef90_A": 20, "UniRef90_B": 20, "UniRef90_C": 20, "UniRef50_A": 15, "UniRef50_B": 17}
    assert set("".join(sequence for _, sequence in rows)) <= set("ACDEFGHIKLMNPQRSTVWY")
    assert len({sequence for _, sequence in rows}) == 5


def test_cluster_tables(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    train_path, valid_path = create_mock_parquet_train_val_inputs(tmp_path)
    assert (train_path.name, valid_path.name) == ("train_clusters.parquet", "valid_clusters.parquet")
    assert pq.read_table(train_path).to_pydict() == {"ur90_id": [["UniRef90_A"], ["UniRef90_B", "UniRef90_C"]]}
    valid_ids = ["UniRef50_A", "UniRef50_B", "UniRef90_A", "UniRef90_B"]
    assert pq.read_table(valid_path).to_pydict() == {"ur50_id": valid_ids}
