# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import gzip
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bionemo.core.errors import DataError, DataFileError, FormatError, MissingFileError
from bionemo.esm2.data import array_files
from bionemo.esm2.data.sequence_store import SequenceStore
from bionemo.esm2.data.sequence_store_writer import build_store


PAIRS = [("A", "s0"), ("B", "s3"), ("A", "s5"), ("A", "s1"), ("C", "s2"), ("B", "s4")]


@pytest.fixture
def fasta_path(tmp_path):
    path = tmp_path / "in.fasta"
    path.write_text("".join(f">s{idx}\nMKT\n" for idx in range(7)))
    return path


def _table(tmp_path, kind, pairs=PAIRS):
    path = tmp_path / f"clusters.{kind}"
    text = "".join(f"{a}\t{b}\n" for a, b in pairs)
    if kind == "tsv":
        path.write_text("representative\tmember\n" + text)
    elif kind == "tsv.gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        columns = {"representative": [a for a, _ in pairs], "member": [b for _, b in pairs]}
        pq.write_table(pa.table(columns), path)
    return path


def _groups(store):
    offsets, members = store.clusters
    return sorted(tuple(members[a:b].tolist()) for a, b in itertools.pairwise(offsets))


@pytest.mark.parametrize("kind", ["tsv", "tsv.gz", "parquet"])
@pytest.mark.parametrize("sort_items", [2, 1000])
def test_clusters_of_every_kind_of_table(tmp_path, fasta_path, kind, sort_items, monkeypatch, caplog):
    monkeypatch.setattr(array_files, "SORT_ITEMS", sort_items)
    store = build_store(fasta_path, tmp_path / "store", clusters_path=_table(tmp_path, kind))
    assert _groups(store) == [(0, 5, 1), (2,), (3, 4)]  # members in the order of the table
    assert "1 sequences are in no cluster and are left out" in caplog.text
    assert _groups(SequenceStore.open(store.path, verify=True)) == _groups(store)
    assert store.clusters.members.dtype == np.int64


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        ([*PAIRS, ("C", "s9")], DataError, "row 7: the member 's9' is not among the 7 sequences"),
        ([*PAIRS, ("C", "s0")], DataError, "the member 's0' is listed twice"),
        ([], FormatError, "the cluster table is empty"),
    ],
)
def test_bad_members(tmp_path, fasta_path, pairs, error, message):
    with pytest.raises(error, match=message):
        build_store(fasta_path, tmp_path / "store", clusters_path=_table(tmp_path, "parquet", pairs))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("c.tsv", b"A\ts0\nB s1\n", FormatError, "line 2: expected two tab-separated ids .* found 'B s1'"),
        ("c.tsv", b"A\ts0\n\n", FormatError, "line 2: expected two tab-separated ids"),
        ("c.tsv", b"A\t\xff\n", FormatError, "is not UTF-8 text"),
        ("c.tsv.gz", b"A\ts0\n", DataFileError, "cannot be read: Not a gzipped file"),
        ("c.parquet", b"PAR1 no", FormatError, "is not a readable parquet file"),
    ],
)
def test_bad_tables(tmp_path, fasta_path, name, content, error, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        build_store(fasta_path, tmp_path / "store", clusters_path=tmp_path / name)
    assert not (tmp_path / "store").exists()


def test_missing_table_and_columns(tmp_path, fasta_path):
    with pytest.raises(MissingFileError, match=r"none\.tsv: there is no such cluster file"):
        build_store(fasta_path, tmp_path / "store", clusters_path=tmp_path / "none.tsv")
    pq.write_table(pa.table({"rep": ["A"], "member": ["s0"]}), tmp_path / "c.parquet")
    with pytest.raises(
        FormatError, match=r"expected the columns representative and member, found \['rep', 'member'\]"
    ):
        build_store(fasta_path, tmp_path / "store", clusters_path=tmp_path / "c.parquet")
    pq.write_table(pa.table({"representative": [1], "member": [2]}), tmp_path / "c.parquet")
    with pytest.raises(FormatError, match="column 'representative' must hold text"):
        build_store(fasta_path, tmp_path / "store", clusters_path=tmp_path / "c.parquet")
