# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Compressed data are refused before they fill the memory or the disk."""

import gzip
import io
import tarfile
import tracemalloc
import zipfile

import pytest

from bionemo.core.data._archives import decompress, open_tar, open_zip, tar_members, unpack_tar, unpack_zip
from bionemo.core.errors import FormatError
from bionemo.core.unpacking import DecompressionLimitError, gunzip


ZEROS = bytes(80 * 2**20)


@pytest.fixture(scope="module")
def bomb():
    """80 MiB in 80 kB."""
    return gzip.compress(ZEROS, 9)


def test_gunzip_reads_what_gzip_writes():
    parts = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two" * 1000)
    assert gunzip(parts + bytes(7)) == b"one" + b"two" * 1000
    assert gunzip(b"") == b""
    for damaged in (parts[:-3], b"\x1f\x8b", parts[:20] + b"\xff" * 9 + parts[29:], b"plain"):
        with pytest.raises(FormatError, match=r"^x\.gz: .*(cut off|damaged)"):
            gunzip(damaged, name="x.gz")


def test_a_bomb_is_refused_in_little_memory(bomb):
    tracemalloc.start()
    with pytest.raises(DecompressionLimitError, match=r"unpack to more than 67,108,864\. .* max_unpacked_bytes"):
        gunzip(bomb)
    with pytest.raises(DecompressionLimitError, match=r"more than 1,000\."):
        gunzip(gzip.compress(b"a" * 600) * 2, max_unpacked_bytes=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2 * 2**26
    assert len(gunzip(bomb, max_unpacked_bytes=len(ZEROS))) == len(ZEROS)


def test_files_and_archives(bomb, tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(bomb)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", ZEROS)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("zeros")
        info.size = len(ZEROS)
        archive.addfile(info, io.BytesIO(ZEROS))

    def unpack(kind, **options):
        path, target = tmp_path / f"a.{kind}", tmp_path / f"{kind}.out"
        if kind == "txt.gz":
            decompress(path, target, **options)
        elif kind == "zip":
            with open_zip(path) as archive:
                unpack_zip(path, archive, target, **options)
        else:
            with open_tar(path) as archive:
                unpack_tar(path, tar_members(path, archive), archive, target, **options)
        return target

    for kind in ("txt.gz", "zip", "tar.gz"):
        with pytest.raises(DecompressionLimitError, match=rf"a\.{kind}: [\d,]+ bytes unpack to more than 67,108,864"):
            unpack(kind)
        assert {path.name for path in tmp_path.iterdir()} == {"a.txt.gz", "a.zip", "a.tar.gz"}
    target = unpack("zip", max_unpacked_bytes=len(ZEROS))
    assert (target / "zeros").stat().st_size == len(ZEROS)
