# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Our tar reader against webdataset's, and against damage."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
import webdataset as wds

from bionemo.core.errors import DataFileError, FormatError, MissingFileError
from bionemo.webdatamodule._tar_reading import NameFilter, count_samples, read_samples


ALL = NameFilter()
FORMATS = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT, "ustar": tarfile.USTAR_FORMAT}


def write_tar(path, members, tar_format=tarfile.GNU_FORMAT):
    with tarfile.open(path, "w", format=tar_format) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def by_webdataset(path, **kwargs):
    samples = wds.WebDataset([path], shardshuffle=False, empty_check=False, **kwargs)
    return [{key: value for key, value in sample.items() if key != "__local_path__"} for sample in samples]


def by_us(path, names=ALL):
    found = count_samples(path, names)
    assert found.error is None
    samples = read_samples(path, 0, found.num_samples, names)
    return [{key: value for key, value in sample.items() if key != "__local_path__"} for sample in samples]


@pytest.mark.parametrize("tar_format", FORMATS.values(), ids=FORMATS)
def test_same_samples_as_webdataset(tmp_path, tar_format):
    # ustar splits a long name at a slash; the others take a header of their own
    long_name = "a" * 90 + "/" + "b" * 80
    members = [
        ("one.txt", b"1"),
        ("one.a.B.PYD", b"x" * 511),
        ("folder.d/two.txt", b"y" * 512),
        ("__meta__/three.txt", b"no data"),
        ("__index__", b"no data"),
        ("without-suffix", b""),
        (f"{long_name}.bin", b"z" * 513),
        (f"{long_name}.txt", b""),
        ("größe.txt", b"\0" * 1024),
    ]
    path = write_tar(tmp_path / "x.tar", members, tar_format)
    ours = by_us(path)
    assert ours == by_webdataset(path)
    assert [sample["__key__"] for sample in ours] == ["one", "folder.d/two", long_name, "größe"]
    assert ours[0]["a.b.pyd"] == b"x" * 511


@pytest.mark.parametrize("tar_format", ["gnu", "posix", "v7"])
def test_reads_what_the_tar_command_writes(tmp_path, tar_format):
    files = tmp_path / "files"
    (files / "sub").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "sub/c.txt"):
        (files / name).write_text(name)
    (files / "link.txt").symlink_to("a.txt")
    path = str(tmp_path / "x.tar")
    subprocess.run(["tar", f"--format={tar_format}", "--sort=name", "-cf", path, "-C", files, "."], check=True)
    ours = by_us(path)
    assert ours == by_webdataset(path)
    assert sorted(sample["txt"] for sample in ours) == [b"a.txt", b"b.txt", b"sub/c.txt"]


def test_filters_as_webdataset_does(tmp_path):
    path = write_tar(tmp_path / "x.tar", [(f"{i}.{kind}", kind.encode()) for i in range(3) for kind in ("txt", "bin")])

    def select(name):
        return name.endswith(".txt")

    def rename(name):
        return "new-" + name

    ours = by_us(path, NameFilter(select=select, rename=rename))
    assert ours == by_webdataset(path, select_files=select, rename_files=rename)
    assert [sorted(sample) for sample in ours] == 3 * [["__key__", "__url__", "txt"]]


def test_any_range_of_samples(tmp_path):
    path = write_tar(tmp_path / "x.tar", [(f"{i}.{kind}", b"") for i in range(5) for kind in ("txt", "bin")])
    for start in range(6):
        for stop in range(start, 6):
            keys = [sample["__key__"] for sample in read_samples(path, start, stop, ALL)]
            assert keys == [str(i) for i in range(start, stop)]


def test_cut_at_any_place_is_an_error_that_names_tar_and_last_sample(tmp_path):
    whole = write_tar(tmp_path / "whole.tar", [(f"s{i}.txt", b"x" * 700) for i in range(3)])
    data = Path(whole).read_bytes()
    member, end = 512 + 1024, 3 * (512 + 1024)  # behind them is the end mark
    cut = tmp_path / "cut.tar"
    for size in [*range(0, end, 100), end, end + 100]:
        cut.write_bytes(data[:size])
        found = count_samples(str(cut), ALL)
        # A sample counts once the next one has begun: only then is it known to have no more members.
        num_complete = sum(size >= (i + 1) * member + 512 + 700 for i in range(2))
        assert found.num_samples == num_complete
        assert isinstance(found.error, DataFileError)
        assert str(found.error).startswith(f"{cut}: is cut off: it ends at byte {size}")
        last = f"'s{num_complete - 1}'" if num_complete else "none"
        assert f"the last complete sample is {last}." in str(found.error)
        keys = [sample["__key__"] for sample in read_samples(str(cut), 0, num_complete, ALL)]
        assert keys == ["s0", "s1"][:num_complete]


def test_damaged_header(tmp_path):
    path = tmp_path / "x.tar"
    write_tar(path, [(f"s{i}.txt", b"x") for i in range(3)])
    data = bytearray(path.read_bytes())
    data[2048 + 3] ^= 1
    path.write_bytes(data)
    found = count_samples(str(path), ALL)
    assert isinstance(found.error, FormatError)
    assert f"{path}: no valid tar header at byte 2048; the last complete sample is 's0'" in str(found.error)


@pytest.mark.parametrize("content", [b"no tar at all " * 100, b"\x1f\x8b" + bytes(range(256)) * 4])
def test_no_tar(tmp_path, content):
    (tmp_path / "x.tar").write_bytes(content)
    error = count_samples(str(tmp_path / "x.tar"), ALL).error
    assert isinstance(error, FormatError)
    assert "Expected an uncompressed, undamaged tar" in str(error)


def test_missing_tar(tmp_path):
    error = count_samples(str(tmp_path / "x.tar"), ALL).error
    assert isinstance(error, MissingFileError)
    assert str(tmp_path / "x.tar") in str(error)


def test_two_members_of_one_suffix(tmp_path):
    path = write_tar(tmp_path / "x.tar", [("a.txt", b"1"), ("a.TXT", b"2")])
    with pytest.raises(FormatError, match=r"x\.tar: sample 'a' has two members '\.txt'"):
        list(read_samples(path, 0, 1, ALL))


def test_tar_replaced_after_counting(tmp_path):
    path = write_tar(tmp_path / "x.tar", [("a.txt", b"1")])
    with pytest.raises(DataFileError, match="has 1 samples now, but had at least 2 at setup"):
        list(read_samples(path, 0, 2, ALL))
