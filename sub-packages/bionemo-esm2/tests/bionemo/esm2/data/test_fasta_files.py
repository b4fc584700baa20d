# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import bz2
import gzip
import io
import lzma
import os
import sys
import threading

import pytest
from backports import zstd

from bionemo.core.errors import DataFileError, FormatError, MissingFileError
from bionemo.esm2.data.fasta import read_fasta
from bionemo.esm2.data.fasta_files import fasta_paths, is_stream


TEXT = b"".join(b">r%d\nMKTAYIAKQRQISFVKSHFSRQ\n" % i for i in range(500))
COMPRESS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
}


@pytest.fixture
def pipe():
    """A pipe that a thread writes into, as a shell's <(zcat in.fasta.gz)."""
    opened = []

    def make(content):
        reader, writer = os.pipe()

        def write():
            with os.fdopen(writer, "wb") as file:
                file.write(content)

        thread = threading.Thread(target=write)
        thread.start()
        opened.append((reader, thread))
        return f"/dev/fd/{reader}"

    yield make
    for reader, thread in opened:
        os.close(reader)
        thread.join()


@pytest.mark.parametrize("suffix", list(COMPRESS))
def test_compressed_files_are_recognized_by_their_bytes(tmp_path, suffix, pipe):
    data = COMPRESS[suffix](TEXT)
    for name in (f"in.fasta.{suffix}", "in.fasta"):
        (tmp_path / name).write_bytes(data)
        assert len(list(read_fasta(tmp_path / name))) == 500
    (tmp_path / "in.fasta").write_bytes(data + data)  # as `cat a.gz b.gz`
    assert len(list(read_fasta(tmp_path / "in.fasta"))) == 1000
    assert len(list(read_fasta(pipe(data)))) == 500


@pytest.mark.parametrize("suffix", list(COMPRESS))
def test_damaged_and_truncated_streams_are_errors(tmp_path, suffix):
    data = COMPRESS[suffix](TEXT)
    path = tmp_path / f"in.fasta.{suffix}"
    path.write_bytes(data[:-6])
    with pytest.raises(DataFileError, match=r"in\.fasta.*: the .* stream is truncated"):
        list(read_fasta(path))
    path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 255]) + data[len(data) // 2 + 1 :])
    with pytest.raises(DataFileError, match=r"in\.fasta.*: the .* stream is damaged"):
        list(read_fasta(path))
    path.write_bytes(TEXT)
    with pytest.raises(FormatError, match=f"is named .{suffix} but is not"):
        list(read_fasta(path))


def test_pipes_and_standard_input(monkeypatch, pipe):
    path = pipe(TEXT * 4)  # more than a pipe holds at once
    assert is_stream(path)
    assert len(list(read_fasta(path))) == 2000
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(TEXT))))
    assert len(list(read_fasta("-"))) == 500
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b">a\nM1\n"))))
    with pytest.raises(FormatError, match=r"^standard input: record 1 \('a'\)"):
        list(read_fasta("-"))


def test_several_files_and_folders_in_their_order(tmp_path):
    for name, record in (("b.faa.xz", b">b\nMK\n"), ("a.FASTA", b">a\nMK\n"), ("c.fa", b">c\nMK\n>d\nM2\n")):
        (tmp_path / name).write_bytes(lzma.compress(record) if name.endswith("xz") else record)
    (tmp_path / "notes.txt").write_text("no proteins")
    (tmp_path / ".hidden.fasta").write_text("no proteins")
    rejected = []
    records = read_fasta([tmp_path / "c.fa", tmp_path], on_bad_record="skip", on_rejected=rejected.append)
    assert [record.id for record in records] == ["c", "a", "b", "c"]
    assert [(row.file, row.record, row.line) for row in rejected] == 2 * [(str(tmp_path / "c.fa"), 2, 3)]
    with pytest.raises(FormatError, match=r"c\.fa: record 2 \('d'\): illegal character '2'"):
        list(read_fasta(tmp_path))


def test_nothing_to_read(tmp_path):
    (tmp_path / "notes.txt").write_text("no proteins")
    with pytest.raises(DataFileError, match=r"is a folder without FASTA files. Expected names that end in \.fasta"):
        fasta_paths(tmp_path)
    with pytest.raises(DataFileError, match="No FASTA file was given"):
        fasta_paths([])
    with pytest.raises(MissingFileError, match=r"none\.fasta: there is no such FASTA file"):
        fasta_paths([tmp_path / "none.fasta"])
