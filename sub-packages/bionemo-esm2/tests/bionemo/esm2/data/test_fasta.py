# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import gzip
import logging

import pytest

from bionemo.core.errors import DataError, DataFileError, FormatError, MissingFileError
from bionemo.esm2.data import fasta
from bionemo.esm2.data.fasta import FastaRecord, FastaSummary, iter_encoded_blocks, read_fasta


GZIP = gzip.compress(b"".join(b">r%d\nMKTAYIAKQR\n" % i for i in range(100)))


def _write(tmp_path, content, name="in.fasta"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_records_of_a_tidy_and_of_an_untidy_file(tmp_path):
    tidy = _write(tmp_path, b">a first one\nMKT\nAY\n>b\nGG\n")
    expected = [FastaRecord("a", "first one", "MKTAY"), FastaRecord("b", "", "GG")]
    assert list(read_fasta(tidy)) == expected
    untidy = _write(tmp_path, b"\xef\xbb\xbf\r\n>a first one \r\nmKT \r\n\r\nAY*\r\n>b\r\n G G", "untidy.fasta")
    summary = FastaSummary()
    assert list(read_fasta(untidy, summary=summary)) == expected
    assert summary.to_dict() == {
        "num_sequences": 2,
        "num_residues": 7,
        "num_lower_case_residues": 1,
        "num_stops_removed": 1,
        "num_unknown_residues": 0,
    }


def test_gzip_is_told_by_its_bytes(tmp_path):
    for name in ("in.fasta.gz", "in.fasta"):
        assert len(list(read_fasta(_write(tmp_path, GZIP, name)))) == 100


@pytest.mark.parametrize("block_bytes", [1, 2, 7, 64])
def test_blocks_may_end_anywhere(tmp_path, monkeypatch, block_bytes):
    path = _write(tmp_path, b"\n\n>a x\nMK\nT\n>b\nGGAAGG\n>c\nMMM")
    expected = list(read_fasta(path))
    monkeypatch.setattr(fasta, "_BLOCK_BYTES", block_bytes)
    assert list(read_fasta(path)) == expected
    assert [record.id for record in expected] == ["a", "b", "c"]


def test_progress_counts_the_bytes_of_the_file(tmp_path):
    path = _write(tmp_path, GZIP, "in.fasta.gz")
    steps = []
    list(iter_encoded_blocks(path, on_progress=steps.append))
    assert sum(steps) == path.stat().st_size


@pytest.mark.parametrize(
    ("content", "name", "error", "message"),
    [
        (b"", "in.fasta", FormatError, "is empty. Expected FASTA"),
        (b" \n\n", "in.fasta", FormatError, "is empty. Expected FASTA"),
        (b"MKT\n>a\nMK\n", "in.fasta", FormatError, r"is not FASTA: the first line must start with '>', found b'MKT"),
        (b">a\nMK\n", "in.fasta.gz", FormatError, "is named .gz but is not gzip"),
        (GZIP[:-12], "in.fasta.gz", DataFileError, "gzip stream is truncated"),
        (GZIP[:-8] + b"\0" * 8, "in.fasta.gz", DataFileError, "gzip stream is damaged"),
        (GZIP[:30] + b"\xff\xff" + GZIP[32:], "in.fasta.gz", DataFileError, "gzip stream is damaged"),
        (b">a\n>b\nMK\n", "in.fasta", FormatError, r"record 1 \('a'\): the header has no residues after it"),
        (b">a\nMK\n>b\n", "in.fasta", FormatError, r"record 2 \('b'\): the header has no residues after it"),
        (b">a\n*\n", "in.fasta", FormatError, r"record 1 \('a'\): the header has no residues after it"),
        (b">a\nMK\n>b x\nMK\nTJA\n", "in.fasta", DataError, r"record 2 \('b'\): illegal character 'J' at residue 4"),
        (b">a\nM*K\n", "in.fasta", DataError, r"illegal character '\*' at residue 2. A '\*' is allowed at the end"),
        (b">a\nM-K\n", "in.fasta", DataError, "illegal character '-' at residue 2"),
        (b">a\nM1\n", "in.fasta", DataError, "illegal character '1'"),
        (">a\nMé\n".encode(), "in.fasta", DataError, "illegal character 'é'"),
        (b">\nMK\n", "in.fasta", FormatError, "record 1: the header has no id"),
        (b">a\rMK\r>b\rMK", "in.fasta", FormatError, "record 1: lines end in a lone carriage return"),
        (b">a\xff\nMK\n", "in.fasta", FormatError, r"record 1: the id b'a\\xff' is not UTF-8"),
    ],
)
def test_bad_files_get_one_line_with_their_name(tmp_path, content, name, error, message):
    path = _write(tmp_path, content, name)
    with pytest.raises(error, match=message) as caught:
        list(read_fasta(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(MissingFileError, match="no such FASTA file"):
        list(read_fasta(tmp_path / "none.fasta"))
    with pytest.raises(DataFileError, match="is a folder"):
        list(read_fasta(tmp_path))


def test_illegal_characters_as_unk_on_request(tmp_path):
    summary = FastaSummary()
    path = _write(tmp_path, b">a\nMJ-k*\n")
    assert [r.sequence for r in read_fasta(path, on_illegal="unk", summary=summary)] == ["M??K"]
    assert (summary.num_unknown_residues, summary.num_lower_case_residues, summary.num_stops_removed) == (2, 1, 1)
    (block,) = iter_encoded_blocks(path, on_illegal="unk")
    assert list(block.residues[0]) == [20, 3, 3, 15]


def test_changes_are_logged(caplog):
    with caplog.at_level(logging.INFO):
        FastaSummary(num_sequences=1, num_lower_case_residues=5, num_stops_removed=2).log("x.fasta")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        "x.fasta: 5 lower-case residues were read as residues",
        "x.fasta: a final '*' was removed from 2 sequences",
    ]
