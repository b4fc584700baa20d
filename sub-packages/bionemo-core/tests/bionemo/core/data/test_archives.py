# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import bz2
import gzip
import io
import lzma
import os
import pathlib
import tarfile
import zipfile

import pytest

from bionemo.core.data.load import _get_processor, _SafeUntar, _SafeUnzip, _validate_archive_members
from bionemo.core.errors import FormatError, ResourceError


def member(name, type_=tarfile.REGTYPE, linkname="", content=b"x"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type_, linkname
    info.size = len(content) if type_ == tarfile.REGTYPE else 0
    return info, io.BytesIO(content)


def write_tar(path, *members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for info, content in members:
            archive.addfile(info, content if info.isfile() else None)
    return str(path)


SYM, HARD, DIR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


def test_tar_with_links_inside(tmp_path):
    path = write_tar(
        tmp_path / "a.tar.gz",
        member("top", DIR),
        member("top/file", content=b"content"),
        member("top/deep/link", SYM, "../file"),
        member("top/same", SYM, "file"),
        member("top/hard", HARD, "top/file"),
    )
    _SafeUntar()._extract_file(path, str(tmp_path / "out"))
    for name in ("file", "deep/link", "same", "hard"):
        assert (tmp_path / "out" / "top" / name).read_bytes() == b"content"


def test_a_python_whose_tarfile_has_no_filters(tmp_path, monkeypatch):
    """Debian 12 has Python 3.11.2; filters came with 3.11.4."""
    script, content = member("run.sh", content=b"exit")
    script.mode, script.uid, script.gid = 0o6775, 12345, 12345
    path = write_tar(
        tmp_path / "a.tar.gz", member("top", DIR), (script, content), member("top/link", SYM, "../run.sh")
    )
    extract_all = tarfile.TarFile.extractall
    monkeypatch.delattr(tarfile, "data_filter")
    monkeypatch.delattr(tarfile, "FilterError")
    monkeypatch.setattr(tarfile.TarFile, "extractall", lambda self, path, members: extract_all(self, path, members))
    _SafeUntar()._extract_file(path, str(tmp_path / "out"))
    assert (tmp_path / "out" / "top" / "link").read_bytes() == b"exit"
    state = (tmp_path / "out" / "run.sh").stat()
    assert (state.st_mode & 0o7777, state.st_uid) == (0o755, os.getuid())
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(pathlib.Path(path).read_bytes()[:-9])
    with pytest.raises(FormatError, match="damaged"):
        _SafeUntar()._extract_file(str(cut), str(tmp_path / "cut"))


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "a\\..\\evil", "C:/evil"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_members_that_leave_the_folder(tmp_path, name, kind):
    target = tmp_path / "out"
    if kind == "tar":
        path = write_tar(tmp_path / "a.tar.gz", member("good"), member(name))
        processor = _SafeUntar()
    else:
        path = str(tmp_path / "a.zip")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("good", "x")
            info = zipfile.ZipInfo("placeholder")
            info.filename = name
            archive.writestr(info, "x")
        processor = _SafeUnzip()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the whole text is compared
        processor._extract_file(path, str(target))
    assert str(caught.value) == (
        f"Archive member '{name}' would be extracted outside the target directory '{target}'. "
        "This is a potential Zip Slip security risk."
    )
    assert not target.exists()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([member("l", SYM, "..")], "links to '..', outside"),
        ([member("l", SYM, "/etc/passwd")], "links to '/etc/passwd', outside"),
        ([member("d/l", SYM, "../../x")], "links to '../../x', outside"),
        # A link to a shallow folder makes what lies above its target higher than its name says.
        (
            [member("t", DIR), member("x/y/a", SYM, "../../t"), member("c", SYM, "x/y/a/../..")],
            "links to 'x/y/a/../..'",
        ),
        ([member("d", SYM, "e"), member("d/f")], "'d/f' would be written through a link"),
        ([member("d", SYM, "e"), member("d")], "'d' would be written through a link"),
        ([member("h", HARD, "/etc/passwd")], "hard link to '/etc/passwd', no file in it"),
        ([member("h", HARD, "../x")], "hard link to '../x', no file in it"),
        ([member("l", SYM, "f"), member("h", HARD, "l")], "hard link to 'l', no file in it"),
        ([member("p", tarfile.FIFOTYPE)], "'p' is a device or FIFO"),
        ([member("p", tarfile.CHRTYPE)], "'p' is a device or FIFO"),
        ([member("p", tarfile.BLKTYPE)], "'p' is a device or FIFO"),
    ],
)
def test_dangerous_members(tmp_path, members, message):
    path = write_tar(tmp_path / "a.tar.gz", member("good"), *members)
    with pytest.raises(ResourceError) as caught:
        _SafeUntar()._extract_file(path, str(tmp_path / "out"))
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_names_are_checked_as_given():
    _validate_archive_members(["a", "a/b", "./c", "a/../d", "..e"], "/some/where")
    with pytest.raises(ValueError, match="Zip Slip"):
        _validate_archive_members(["a", ".."], "/some/where")


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.tar", "_SafeUntar"),
        ("model-1.0.tar.gz", "_SafeUntar"),
        ("A.TGZ", "_SafeUntar"),
        ("a.tar.bz2", "_SafeUntar"),
        ("a.tar.xz", "_SafeUntar"),
        ("a.b.zip", "_SafeUnzip"),
        ("a.gz", "_decompress"),
        ("a.bz2", "_decompress"),
        ("a.xz", "_decompress"),
        ("a.nemo", None),
        ("tar", None),
        ("a.tar.zst", None),
    ],
)
def test_the_end_of_the_name_decides(filename, expected):
    processor = _get_processor(filename, None, None)
    name = None if processor is None else getattr(processor, "__name__", type(processor).__name__)
    assert name == expected


def test_switched_off():
    assert _get_processor("a.tar.gz", False, None) is None
    assert _get_processor("a.zip", False, None) is None
    assert _get_processor("a.gz", None, False) is None
    assert _get_processor("a.gz", False, None) is not None


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_decompression(tmp_path, suffix, compress):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(compress(b"content" * 1000))
    result = _get_processor(path.name, None, None)(str(path), "download", None)
    assert result == f"{path}.decomp"
    assert (tmp_path / f"a.{suffix}.decomp").read_bytes() == b"content" * 1000
    path.write_bytes(compress(b"content" * 1000)[:-12])
    (tmp_path / f"a.{suffix}.decomp").unlink()
    with pytest.raises(FormatError, match=rf"a\.{suffix}: damaged or not what its name says"):
        _get_processor(path.name, None, None)(str(path), "download", None)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("name", "content"), [("a.tar.gz", b"not a tar"), ("a.zip", b"not a zip"), ("a.tar", b"")])
def test_not_an_archive(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=f"{name}: damaged or not what its name says"):
        _get_processor(name, None, None)._extract_file(str(tmp_path / name), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_truncated_and_flipped_archives(tmp_path):
    path = tmp_path / "a.tar.gz"
    content = bytes(range(256)) * 400
    write_tar(path, member("one", content=content), member("two", content=content[::-1]))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:200] + b"\xff" * 20 + whole[220:]):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match="damaged"):
            _SafeUntar()._extract_file(str(path), str(tmp_path / "out"))
        assert [each.name for each in tmp_path.iterdir()] == ["a.tar.gz"]


def test_as_pooch_processors(tmp_path):
    """Called the way pooch calls them, they give the list of files."""
    path = write_tar(tmp_path / "a.tar.gz", member("d/one"), member("two"))
    files = _SafeUntar()(path, "download", None)
    assert sorted(files) == sorted([f"{path}.untar/d/one", f"{path}.untar/two"])
