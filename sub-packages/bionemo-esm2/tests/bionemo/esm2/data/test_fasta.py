# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import gzip
import logging
import time

import pytest

from bionemo.core.errors import DataError, DataFileError, FormatError, MissingFileError
from bionemo.esm2.data import fasta
from bionemo.esm2.data.fasta import FastaRecord, iter_encoded_blocks, read_fasta
from bionemo.esm2.data.fasta_policy import FastaSummary


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
        "num_records_rejected": 0,
        "num_records_fixed": 0,
        "num_ids_numbered": 0,
        "num_nucleotide_sequences": 0,
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


LETTERS = {"on_illegal": "unk"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b">a\nMSESV*>b second protein\nMK\n",
            r"record 1 \('a'\): illegal character '>' at residue 7. Line 2: the line ",
        ),
        (
            b">a\nMK\n>b long\nname of a protein\nMKTAY\n",
            r"record 2 \('b'\): line 4 'name of a protein' reads as words",
        ),
        (b">a\nHEAVY CHAIN\nEVQLVESGGGLVQ\n", r"line 2 'HEAVY CHAIN' reads as words"),
        (b">a long\n\r\nkinase\r\nMKTAYIAKQR\r\n", r"line 3 'kinase' reads as the end of a header that was wrapped"),
        (b">a\n1 MKTAY\n", "illegal character '1' at residue 1. Line 2 '1 MKTAY': digits, punctuation"),
        (b">a\nMKTAY\n\nMK(ac)A\n", r"illegal character '\(' at residue 8. Line 4"),
        (b">a\nMK\n>b\nOS=Homo sapiens\n", r"record 2 \('b'\): illegal character '=' at residue 3. Line 4"),
    ],
)
@pytest.mark.parametrize("policy", [{}, LETTERS])
def test_broken_structure_is_never_read_as_residues(tmp_path, content, message, policy):
    path = _write(tmp_path, content)
    with pytest.raises(FormatError, match=message):
        list(read_fasta(path, **policy))
    for repair in ("skip", "fix"):
        rejected = []
        kept = list(read_fasta(path, on_bad_record=repair, on_rejected=rejected.append, **policy))
        assert len(rejected) == 1
        assert all(set(record.sequence) <= set("MK") for record in kept)


def test_blocks_of_ten_and_soft_masked_lines_are_residues(tmp_path):
    path = _write(tmp_path, b">a\n MKTAYIAKQR QISFVKSHFS\nRQLEERL\n>b\nmktayiak\nMKTAYIAK\n>c\nM K T\n")
    assert [record.sequence for record in read_fasta(path)] == [
        "MKTAYIAKQRQISFVKSHFSRQLEERL",
        "MKTAYIAKMKTAYIAK",
        "MKT",
    ]


def test_bad_records_are_skipped_or_fixed_and_listed(tmp_path):
    content = b">a\nMKT\n>stop\n*\n>empty\n>inner x\nM*K\n>gaps\nM-k.T\n>j\nMJ\n>\nMK\n>b\nMK*\n>\xff\nMK\n>gap\n-\n"
    path = _write(tmp_path, content)
    rejected, summary = [], FastaSummary()
    records = list(read_fasta(path, on_bad_record="skip", summary=summary, on_rejected=rejected.append))
    assert [(record.id, record.sequence) for record in records] == [("a", "MKT"), ("b", "MK")]
    assert [(row.record, row.line, row.id) for row in rejected] == [
        (2, 3, "stop"),
        (3, 5, "empty"),
        (4, 6, "inner"),
        (5, 8, "gaps"),
        (6, 10, "j"),
        (7, 12, ""),
        (9, 16, "\ufffd"),
        (10, 18, "gap"),
    ]
    assert rejected[2].reason.startswith("illegal character '*' at residue 2")
    assert {row.file for row in rejected} == {str(path)}
    assert (summary.num_sequences, summary.num_records_rejected, summary.num_stops_removed) == (2, 8, 1)

    rejected, summary = [], FastaSummary()
    records = list(read_fasta(path, on_bad_record="fix", summary=summary, on_rejected=rejected.append))
    assert [(record.id, record.sequence) for record in records] == [
        ("a", "MKT"),
        ("inner", "MXK"),
        ("gaps", "MKT"),
        ("j", "MX"),
        ("b", "MK"),
    ]
    assert [row.id for row in rejected] == ["stop", "empty", "", "\ufffd", "gap"]
    assert (summary.num_records_fixed, summary.num_lower_case_residues) == (3, 1)


@pytest.mark.parametrize("block_bytes", [1, 5, 64, 2**20])
def test_lower_case_and_stops_are_counted_alike_in_bulk_and_one_by_one(tmp_path, monkeypatch, block_bytes):
    content = b"".join(
        b">r%d\nMKtay\nIAKQ%s\n" % (i, b"*" if i % 3 else b"J*" if i % 7 == 0 else b"") for i in range(60)
    )
    path = _write(tmp_path, content)
    monkeypatch.setattr(fasta, "_BLOCK_BYTES", block_bytes)
    summary = FastaSummary()
    records = list(read_fasta(path, on_bad_record="skip", summary=summary))
    assert {record.sequence for record in records} == {"MKTAYIAKQ"}
    num_bad = sum(i % 21 == 0 for i in range(60))
    assert summary == FastaSummary(
        num_sequences=60 - num_bad,
        num_residues=9 * (60 - num_bad),
        num_lower_case_residues=3 * (60 - num_bad),
        num_stops_removed=40,
        num_records_rejected=num_bad,
    )


def test_nucleotides_are_counted_and_warned_of(tmp_path, caplog):
    dna = b"ACGTTGCATGCCATGACGTA"
    path = _write(tmp_path, b">a\n%s\n>b\n%s\n>c\n%s\n>d\n%s\n" % (dna, dna.lower() * 4 + b"M", dna + b"MK", b"ACGT"))
    summary = FastaSummary()
    list(read_fasta(path, summary=summary))
    assert summary.num_nucleotide_sequences == 2
    summary.log("x.fasta")
    assert "x.fasta: 2 of 4 sequences (50 %) begin with letters of nucleotides only" in caplog.text


def test_a_chromosome_is_refused_before_memory_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(fasta, "MAX_RECORD_BYTES", 1000)
    monkeypatch.setattr(fasta, "_BLOCK_BYTES", 64)
    path = _write(tmp_path, b">a\nMK\n>chr1\n" + b"ACGT\n" * 400)
    with pytest.raises(FormatError, match=r"record 2 \('chr1'\) is longer than"):
        list(read_fasta(path))


def test_lower_case_is_read_as_fast_as_upper_case(tmp_path):
    lines = "\n".join(5 * [3 * "ACDEFGHIKLMNPQRSTVWY"])
    text = "".join(f">protein_{row} of a family\n{lines[row % 50 :]}\n" for row in range(20_000))
    files = [_write(tmp_path, body.encode(), name=name) for name, body in (("upper", text), ("lower", text.lower()))]
    seconds = {file: [] for file in files}
    for _ in range(7):
        for file in files:
            began = time.process_time()
            assert sum(len(block.ids) for block in iter_encoded_blocks(file)) == 20_000
            seconds[file].append(time.process_time() - began)
    upper, lower = (min(seconds[file]) for file in files)
    assert lower < 1.5 * upper  # 1.0 to 1.1 here; 2.5 where lower-case records are looked at one by one
