# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Sets of tars: readable by everyone, replaced as a whole, never half."""

import subprocess
import tarfile

import pytest
import webdataset as wds

from bionemo.core.errors import ConfigError, DataFileError
from bionemo.testing.kills import kill_runner
from bionemo.webdatamodule._shard_writing import ShardSetWriter, check_complete
from bionemo.webdatamodule._tar_reading import NameFilter, count_samples


def write_set(folder, num_shards, content, size_bytes=10):
    with ShardSetWriter(folder, "set") as writer:
        for shard in range(num_shards):
            writer.begin_shard()
            for i in range(3):
                writer.write(f"{shard}-{i}", {"txt": content.encode() * size_bytes, "cls": b"1"})


def contents(folder):
    """What a reader finds: the content of every sample, by name of the tar."""
    check_complete(folder, "set")
    found = {}
    for path in sorted(folder.glob("set-*.tar")):
        samples = wds.WebDataset([str(path)], shardshuffle=False)
        found[path.name] = "".join(chr(sample["txt"][0]) for sample in samples)
    return found


def test_members_and_headers(tmp_path):
    long_key = "folder/" + "k" * 120
    samples = {"a": {"z.txt": b"1" * 511, "a.bin": b"2" * 512}, "größe": {"txt": b""}, long_key: {"txt": b"3" * 513}}
    with ShardSetWriter(tmp_path, "set") as writer:
        writer.begin_shard()
        for key, members in samples.items():
            writer.write(key, members)
    path = tmp_path / "set-000000.tar"
    expected = [("a.a.bin", 512), ("a.z.txt", 511), ("größe.txt", 0), (f"{long_key}.txt", 513)]
    with tarfile.open(path) as tar:
        infos = tar.getmembers()
        assert [(info.name, info.size) for info in infos] == expected
        assert {(info.mode, info.mtime, info.uid, info.isreg()) for info in infos} == {(0o644, 0, 0, True)}
        assert tar.extractfile("a.z.txt").read() == b"1" * 511
    listing = subprocess.run(["tar", "--list", "-f", path], check=True, capture_output=True, text=True)
    assert listing.stderr == ""
    assert len(listing.stdout.splitlines()) == 4
    assert path.stat().st_size % 10240 == 0
    assert count_samples(str(path), NameFilter()).num_samples == 3


def test_equal_input_gives_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_set(tmp_path / name, 2, "a")
    for i in range(2):
        name = f"set-00000{i}.tar"
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_smaller_set_replaces_a_larger_and_leaves_others_alone(tmp_path):
    write_set(tmp_path, 3, "a")
    others = ["set-extra-000000.tar", "other-000000.tar", "notes.txt"]
    for name in others:
        (tmp_path / name).write_text("mine")
    write_set(tmp_path, 2, "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["set-000000.tar", "set-000001.tar", *others])
    (tmp_path / others[0]).unlink()
    assert contents(tmp_path) == {"set-000000.tar": "bbb", "set-000001.tar": "bbb"}


def write_and_fail(folder):
    with ShardSetWriter(folder, "set") as writer:
        for _ in range(2):
            writer.begin_shard()
            writer.write("x", {"txt": b"c"})
        raise KeyError


def test_exception_leaves_the_old_set(tmp_path):
    write_set(tmp_path, 1, "a")
    with pytest.raises(KeyError):
        write_and_fail(tmp_path)
    assert contents(tmp_path) == {"set-000000.tar": "aaa"}
    assert [path.name for path in tmp_path.iterdir()] == ["set-000000.tar"]


def test_interrupted_replacement_is_refused_and_repaired(tmp_path):
    write_set(tmp_path, 2, "a")
    (tmp_path / ".set-staged").mkdir()  # what a writer leaves that was killed while it moved the tars up
    (tmp_path / ".set-staged" / "set-000001.tar").write_bytes(b"")
    with pytest.raises(DataFileError, match=r"'set-\*\.tar' was stopped before its end.*Run prepare_data"):
        contents(tmp_path)
    write_set(tmp_path, 1, "b")
    assert contents(tmp_path) == {"set-000000.tar": "bbb"}


def test_killed_writer(tmp_path):
    old, new = (
        dict.fromkeys(["set-000000.tar", "set-000001.tar"], "aaa"),
        {f"set-00000{i}.tar": "bbb" for i in range(4)},
    )

    def prepare():
        write_set(tmp_path, 2, "a")

    def check(kill):
        if (tmp_path / ".set-staged").exists():
            with pytest.raises(DataFileError, match="Run prepare_data"):
                contents(tmp_path)
        else:
            assert contents(tmp_path) in (old, new)

    kill_runner(write_set, tmp_path, 4, "b", 300_000, prepare=prepare, check=check, preload=(__name__, "webdataset"))
    write_set(tmp_path, 4, "b")
    assert contents(tmp_path) == new
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(new)  # no leftovers


def test_impossible_places(tmp_path):
    with pytest.raises(ConfigError, match="output_prefix must be the start of a file name"):
        ShardSetWriter(tmp_path, "a/b")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFileError, match="file: the folder cannot be made"), ShardSetWriter(tmp_path / "file", "a"):
        pass
