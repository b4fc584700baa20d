# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bionemo.core import files
from bionemo.core.errors import DataFileError
from bionemo.core.files import (
    atomic_directory,
    atomic_file,
    is_leftover,
    remove_leftovers,
    write_bytes,
    write_json,
    write_text,
)
from bionemo.testing.kills import kill_runner


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_whole_files_round_trip(tmp_path):
    write_bytes(tmp_path / "new" / "b.bin", b"\x00\xff\r\n")
    write_text(tmp_path / "t.txt", "é\nß\n")
    write_json(tmp_path / "j.json", {"ß": [1, None]})
    assert (tmp_path / "new" / "b.bin").read_bytes() == b"\x00\xff\r\n"
    assert (tmp_path / "t.txt").read_bytes() == "é\nß\n".encode()
    assert json.loads((tmp_path / "j.json").read_text(encoding="utf-8")) == {"ß": [1, None]}
    assert names_in(tmp_path) == ["j.json", "new", "t.txt"]


def test_file_appears_only_at_the_end_and_keeps_the_old_content_until_then(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with atomic_file(path, "w") as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
        assert len([path for path in tmp_path.iterdir() if is_leftover(path)]) == 1
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["a.txt"]


def test_exception_keeps_the_old_file_and_removes_the_new_one(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write_half():
        with atomic_file(path) as file:
            file.write(b"half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_file_modes(tmp_path):
    with atomic_file(tmp_path / "a", "w+b") as file:
        file.write(b"abc")
        file.seek(0)
        assert file.read() == b"abc"
    with atomic_file(tmp_path / "latin", "w", encoding="latin-1") as file:
        file.write("é")
    assert (tmp_path / "latin").read_bytes() == b"\xe9"
    with pytest.raises(ValueError, match="got 'a'"), atomic_file(tmp_path / "b", "a"):
        pass


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    write_text(tmp_path / "real" / "a", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_text() == "new"


def test_very_long_names_are_written(tmp_path):
    path = tmp_path / ("ß" * 127)  # 254 bytes, one below the limit of most file systems
    write_text(path, "x")
    assert path.read_text() == "x"


def test_full_disk_is_one_line_naming_the_file(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(DataFileError, match=r"a\.bin: cannot be written: No space left on device\. Free some space"):
        with atomic_file(tmp_path / "a.bin"), Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")
    assert names_in(tmp_path) == []


def test_file_size_limit_leaves_nothing_behind(tmp_path):
    """A real write that the system refuses half-way (RLIMIT_FSIZE stands in for a full disk)."""
    script = (
        "import resource, signal, sys\n"
        "from bionemo.core.files import write_bytes\n"
        "from bionemo.core.errors import DataFileError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    write_bytes(sys.argv[1], bytes(100_000))\n"
        "except DataFileError as error:\n"
        "    print(error)\n"
    )
    target = tmp_path / "a.bin"
    done = subprocess.run([sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{target}: cannot be written: File too large.")
    assert names_in(tmp_path) == []


def test_parent_that_is_a_file_is_named(tmp_path):
    write_text(tmp_path / "a", "x")
    with pytest.raises(DataFileError, match=r"a/b: cannot be written: (Not a directory|File exists)"):
        write_text(tmp_path / "a" / "b", "x")
    with pytest.raises(DataFileError, match=r"cannot be written: Is a directory"):
        write_text(tmp_path, "x")


def test_foreign_errors_pass_through(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_file(tmp_path / "a"):
        Path("/nowhere/at/all").read_bytes()
    assert not isinstance(caught.value, DataFileError)
    with pytest.raises(ConnectionResetError), atomic_file(tmp_path / "a"):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


def fill(folder: Path, content: str) -> None:
    for name in ("one", "two"):
        (folder / name).write_text(content)


def test_directory_appears_complete(tmp_path):
    target = tmp_path / "deep" / "out"
    with atomic_directory(target) as folder:
        fill(folder, "new")
        assert not target.exists()
        assert is_leftover(folder)
    assert names_in(target) == ["one", "two"]
    assert names_in(tmp_path / "deep") == ["out"]


def test_directory_refuses_content_but_takes_an_empty_folder(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    with atomic_directory(target) as folder:
        fill(folder, "first")
    with pytest.raises(DataFileError, match=r"is not empty.*--overwrite"), atomic_directory(target):
        raise AssertionError("the block must not run")
    assert (target / "one").read_text() == "first"
    with pytest.raises(DataFileError, match="is a file where a folder"):
        with atomic_directory(target / "one", overwrite=True):
            raise AssertionError("the block must not run")


def test_directory_taken_meanwhile_is_not_overwritten(tmp_path):
    target = tmp_path / "out"

    def write_late():
        with atomic_directory(target) as folder:
            fill(folder, "mine")
            target.mkdir()
            fill(target, "theirs")

    with pytest.raises(DataFileError, match="exists already"):
        write_late()
    assert (target / "one").read_text() == "theirs"
    assert names_in(tmp_path) == ["out"]


@pytest.mark.parametrize("exchange", ["system", "fallback"])
def test_directory_overwrite(tmp_path, monkeypatch, exchange):
    if exchange == "fallback":
        monkeypatch.setattr(files.sys, "platform", "other")
    target = tmp_path / "out"
    with atomic_directory(target) as folder:
        fill(folder, "old")
        (folder / "gone").write_text("old")
    with atomic_directory(target, overwrite=True) as folder:
        fill(folder, "new")
        assert (target / "one").read_text() == "old"
    assert names_in(target) == ["one", "two"]
    assert (target / "two").read_text() == "new"
    assert names_in(tmp_path) == ["out"]

    def write_half():
        with atomic_directory(target, overwrite=True) as folder:
            fill(folder, "half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert (target / "one").read_text() == "new"
    assert names_in(tmp_path) == ["out"]


def test_every_file_is_synced_before_the_rename(tmp_path, monkeypatch):
    synced = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(descriptor):
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real_fsync(descriptor)

    def rename(self, target):
        synced.append("rename")
        return real_rename(self, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to see which files are synced")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    with atomic_directory(tmp_path / "out") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text("x")
    rename_idx = synced.index("rename")
    before, after = synced[:rename_idx], synced[rename_idx + 1 :]
    assert set(before) == {str(folder), str(folder / "sub"), str(folder / "sub" / "file")}
    assert after == [str(tmp_path)]
    synced.clear()
    monkeypatch.setattr(Path, "replace", lambda self, target: rename(self, target))
    write_bytes(tmp_path / "single", b"x")
    assert is_leftover(synced[0])
    assert synced[1:] == ["rename", str(tmp_path)]


def write_again_and_again(parent):
    for number in range(1, 21):
        write_text(parent / "file", str(number % 10) * 200_000)
        with atomic_directory(parent / "dir", overwrite=True) as folder:
            fill(folder, str(number))


def test_killed_writer_leaves_old_or_new_and_its_leftovers_are_cleared(tmp_path):
    def check(kill):
        content = (tmp_path / "file").read_text()
        assert len(content) == 200_000
        assert len(set(content)) == 1
        assert (tmp_path / "dir" / "one").read_text() == (tmp_path / "dir" / "two").read_text() != ""
        remove_leftovers(tmp_path)
        assert names_in(tmp_path) == ["dir", "file"]

    kill_runner(write_again_and_again, tmp_path, check=check, preload=(__name__,))


def test_leftovers_of_the_living_stay(tmp_path):
    (tmp_path / ".a.0123456789abcdef.bionemo-tmp").write_text("dead")
    (tmp_path / ".b.0123456789abcdef.bionemo-tmp").mkdir()
    (tmp_path / ".hidden").write_text("someone's")
    with atomic_file(tmp_path / "file") as file, atomic_directory(tmp_path / "dir") as folder:
        file.write(b"x")
        removed = remove_leftovers(tmp_path)
        (folder / "x").write_text("x")
    assert [path.name for path in removed] == [".a.0123456789abcdef.bionemo-tmp", ".b.0123456789abcdef.bionemo-tmp"]
    assert names_in(tmp_path) == [".hidden", "dir", "file"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", False),
        (".a.txt", False),
        (".a.0123456789abcdef.bionemo-tmp", True),
        ("a.0123456789abcdef.bionemo-tmp", False),
        (".a.bionemo-tmp", False),
    ],
)
def test_is_leftover(name, expected):
    assert is_leftover(Path("/some/where") / name) is expected


def test_writers_survive_somebody_who_clears_all_the_time(tmp_path):
    """A folder may be cleared away between its making and its locking: the writer takes another name."""
    done = threading.Event()

    def clear() -> None:
        while not done.is_set():
            remove_leftovers(tmp_path)

    clearing = threading.Thread(target=clear)
    clearing.start()
    try:
        for index in range(300):
            with atomic_directory(tmp_path / f"folder-{index}") as folder:
                (folder / "file").touch()
    finally:
        done.set()
        clearing.join()
    assert len([path for path in tmp_path.iterdir() if (path / "file").exists()]) == 300
