# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import sqlite3

import pyarrow.parquet as pq
import pytest

from bionemo.core.errors import ConfigError, DataFileError
from bionemo.esm2.data.cluster_files import read_train_clusters
from bionemo.esm2.data.dataset import ProteinSQLiteDataset, create_valid_clusters
from bionemo.esm2.data.prepare import write_sqlite


@pytest.fixture
def fasta_path(tmp_path):
    path = tmp_path / "in.fasta"
    path.write_text("".join(f">s{i}\nMKT{'A' * i}\n" for i in range(10)))
    return path


def test_the_three_files_hold_every_sequence_once(tmp_path, fasta_path):
    folder = write_sqlite(fasta_path, tmp_path / "out", valid_fraction=0.2)
    assert sorted(path.name for path in folder.iterdir()) == [
        "proteins.db",
        "train_clusters.parquet",
        "valid_clusters.parquet",
    ]
    database = ProteinSQLiteDataset(folder / "proteins.db")
    assert [database[f"s{i}"] for i in range(10)] == ["MKT" + "A" * i for i in range(10)]
    train = [name for cluster in read_train_clusters(folder / "train_clusters.parquet") for name in cluster]
    valid = [name for cluster in create_valid_clusters(folder / "valid_clusters.parquet") for name in cluster]
    assert (len(train), len(valid)) == (8, 2)
    assert sorted(train + valid) == [f"s{i}" for i in range(10)]


def test_clusters_stay_together(tmp_path, fasta_path):
    table = tmp_path / "clusters.tsv"
    table.write_text("".join(f"s{i // 2 * 2}\ts{i}\n" for i in range(10)))
    folder = write_sqlite(fasta_path, tmp_path / "out", clusters_path=table, valid_fraction=0.2)
    train = pq.read_table(folder / "train_clusters.parquet").column("ur90_id").to_pylist()
    (valid,) = pq.read_table(folder / "valid_clusters.parquet").column("ur50_id").to_pylist()
    assert all(len(pair) == 2 and int(pair[0][1:]) // 2 == int(pair[1][1:]) // 2 for pair in train)
    assert len(train) == 4
    assert valid not in {name for pair in train for name in pair}


def test_unknown_residues_become_x(tmp_path):
    (tmp_path / "in.fasta").write_text(">a\nMJK\n>b\nMK\n")
    folder = write_sqlite(tmp_path / "in.fasta", tmp_path / "out", valid_fraction=0.5, on_illegal="unk")
    with sqlite3.connect(folder / "proteins.db") as connection:
        assert connection.execute("SELECT sequence FROM protein WHERE id = 'a'").fetchone() == ("MXK",)
    connection.close()


def test_only_its_own_files_are_replaced(tmp_path, fasta_path):
    folder = write_sqlite(fasta_path, tmp_path / "out", valid_fraction=0.2)
    write_sqlite(fasta_path, folder, valid_fraction=0.5, overwrite=True)
    assert len(create_valid_clusters(folder / "valid_clusters.parquet")) == 5
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(DataFileError, match=r"holds other files \(thesis\.txt\)"):
        write_sqlite(fasta_path, folder, overwrite=True)
    with pytest.raises(DataFileError, match="is not empty"):
        write_sqlite(fasta_path, folder)


def test_a_bad_split_leaves_nothing(tmp_path, fasta_path):
    with pytest.raises(ConfigError, match=r"--valid-fraction 0\.001 of 10 records"):
        write_sqlite(fasta_path, tmp_path / "out", valid_fraction=0.001)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.fasta"]
