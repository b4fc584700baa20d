# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Proteins of every kind of input: ids, rows in input order, bad records."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bionemo.core.errors import BionemoError, ConfigError
from bionemo.esm2.data.fasta_policy import FastaSummary
from bionemo.esm2.data.tokenizer import get_tokenizer
from bionemo.esm2.embedding.protein_file import ProteinFile


def read(path, rejected=None, **settings):
    proteins = ProteinFile(path=path, **settings).proteins(
        FastaSummary(), None if rejected is None else rejected.append
    )
    return [(row, name, get_tokenizer().decode(residues)) for row, name, residues, _ in proteins]


PROTEINS = [(0, "b", "MKT"), (1, "a", "GSH"), (2, "b", "AC")]


def test_every_kind_of_file_gives_the_same_proteins(tmp_path):
    (tmp_path / "in.fasta").write_text(">b first\nMK\nT\n>a\nGSH*\n>b\nac\n")
    (tmp_path / "in.csv").write_text('\ufeffother,sequence,id\n"1,\n2",MKT,b\n,GSH*,a\n,ac,b\n')
    (tmp_path / "in.tsv.gz").write_bytes(gzip.compress(b"id\tsequences\r\nb\tMKT\r\na\tGSH*\r\nb\tac"))
    pq.write_table(pa.table({"id": ["b", "a", "b"], "sequence": ["MKT", "GSH*", "ac"]}), tmp_path / "in.parquet")
    for name in ("in.fasta", "in.csv", "in.tsv.gz", "in.parquet"):
        assert read(tmp_path / name) == PROTEINS, name
        assert ProteinFile(path=tmp_path / name).files() == [tmp_path / name]


def test_cells_of_further_columns_come_along(tmp_path):
    (tmp_path / "in.csv").write_text("value,sequence,id,states\n1.5,MKT,b,HHC\n,GSH,a,CCC\n")
    table = pa.table({"sequence": ["MKT", "GSH"], "states": [["H", None], ["C"]], "value": [1.5, None]})
    pq.write_table(table, tmp_path / "in.parquet")
    found = {}
    for name in ("in.csv", "in.parquet"):
        source = ProteinFile(path=tmp_path / name, more_columns=("states", "value"))
        found[name] = [protein.cells for protein in source.proteins(FastaSummary())]
    assert found == {"in.csv": [("HHC", "1.5"), ("CCC", "")], "in.parquet": [('["H", null]', "1.5"), ('["C"]', None)]}
    with pytest.raises(BionemoError, match="no column depth, found"):
        list(ProteinFile(path=tmp_path / "in.csv", more_columns=("depth",)).proteins(FastaSummary()))


def test_rows_count_the_bad_records_of_all_files(tmp_path):
    for name in ("1", "2"):
        (tmp_path / f"{name}.fasta").write_text(f">a{name}\nMK\n>bad{name}\nM1\n>c{name}\nMA\n>last{name}\nMJ\n")
    rejected = []
    found = read(tmp_path, rejected, on_bad_record="skip")
    assert [(row, name) for row, name, _ in found] == [(0, "a1"), (2, "c1"), (4, "a2"), (6, "c2")]
    assert [(record.id, record.record) for record in rejected] == [
        ("bad1", 2),
        ("last1", 4),
        ("bad2", 2),
        ("last2", 4),
    ]
    (tmp_path / "in.csv").write_text("sequence,name\nMK,x\nMJ,y\n,z\nM-A,w\n")
    rejected.clear()
    assert read(tmp_path / "in.csv", rejected, on_bad_record="skip") == [(0, "0", "MK")]
    assert [(record.record, record.id) for record in rejected] == [(2, "1"), (3, "2"), (4, "3")]
    assert read(tmp_path / "in.csv", on_bad_record="fix", id_column="name")[1:] == [(1, "y", "MX"), (3, "w", "MA")]


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        ("a.csv", "id,sequences\nP1,MKJ\n", {}, "a.csv: record 1 ('P1'): illegal character 'J' at residue 3"),
        ("a.csv", "id,sequences\nP1,\n", {}, "a.csv: record 1 ('P1'): the header has no residues"),
        (
            "a.csv",
            "id,seq\nP1,MK\n",
            {},
            "no column sequences or sequence, found id, seq. Name one: --sequence-column",
        ),
        ("a.csv", "id,seq\nP1,MK\n", {"sequence_column": "s"}, "no column s, found id, seq"),
        ("a.csv", "sequence\nMK\n", {"id_column": "x"}, "no column x, found sequence. Name another --id-column"),
        ("a.csv", "", {}, "no column sequences or sequence, found none"),
        ("a.csv", "id,sequence\nP1\n", {}, "line 2 has 1 fields, the header 2"),
        ("a.tsv", b"id\tsequence\n\xff\tMK\n", {}, "a.tsv: is not UTF-8 text"),
        ("a.parquet", "id,sequence\n", {}, "cannot be read as Parquet"),
        ("a.fasta", ">P1\nMKJ\n", {}, "illegal character 'J'"),
        ("a.fasta", "", {}, "is empty"),
    ],
)
def test_bad_input_names_its_place(tmp_path, name, content, settings, message):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BionemoError) as caught:
        read(tmp_path / name, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_streams_missing_files_and_columns_of_fasta_are_refused(tmp_path):
    for path, settings, message in (
        ("-", {}, "a stream cannot be read again"),
        (tmp_path / "none.csv", {}, "there is no such file"),
        (tmp_path / "none.fasta", {}, "there is no such FASTA file"),
        (tmp_path / "none.fasta", {"id_column": "id"}, "belong to tables"),
    ):
        with pytest.raises(BionemoError, match=message):
            ProteinFile(path=path, **settings).files()
    with pytest.raises(ConfigError):
        ProteinFile(path=tmp_path / "a.fasta", sequence_column="s").files()
