# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Unpack archives that may come from anywhere: nothing is written before every member has been checked."""

import bz2
import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bionemo.core.errors import BionemoError, FormatError, ResourceError
from bionemo.core.files import atomic_directory, atomic_file
from bionemo.core.progress import progress_bar
from bionemo.core.unpacking import check_unpacked_size


class UnsafeArchiveError(ResourceError):
    """A member of an archive would be written, or point, outside the folder it is unpacked to."""


# zipfile raises RuntimeError for encrypted members and unknown compressions.
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, RuntimeError)
_REFUSED_BY_TARFILE = (
    *("AbsolutePathError", "OutsideDestinationError", "SpecialFileError"),
    *("AbsoluteLinkError", "LinkOutsideDestinationError", "LinkFallbackError"),
)
"""Subclasses of tarfile.FilterError, by name: Python below 3.11.4 lacks them."""
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def check_member_names(names: Sequence[str], extract_dir: Path) -> None:
    """Refuse names that leave the folder.

    Raises:
        UnsafeArchiveError: A name is absolute or climbs out of the folder.
    """
    root = extract_dir.resolve()
    for name in names:
        # Drive letters and backslashes mean something on other systems only; no archive of ours has them.
        foreign = "\\" in name or name.startswith("/") or name[1:3] == ":/"
        if foreign or not (root / name).resolve().is_relative_to(root):
            raise UnsafeArchiveError(
                f"Archive member '{name}' would be extracted outside the target directory '{root}'. "
                "This is a potential Zip Slip security risk."
            )


def check_tar_members(members: Sequence[tarfile.TarInfo]) -> None:
    """Refuse links that lead outside, members written through links, devices and FIFOs.

    Names are taken as checked by :func:`check_member_names`.

    Raises:
        UnsafeArchiveError: A member is one of these.
    """
    files = {PurePosixPath(member.name) for member in members if member.isfile() or member.islnk()}
    links = {PurePosixPath(member.name) for member in members if member.issym()}
    for member in members:
        path = PurePosixPath(member.name)
        if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
            raise UnsafeArchiveError(f"Archive member '{member.name}' is a device or FIFO; refused.")
        if links & set(path.parents) or (path in links and not member.issym()):
            raise UnsafeArchiveError(f"Archive member '{member.name}' would be written through a link; refused.")
        if member.issym() and not _stays_inside(path.parent, PurePosixPath(member.linkname)):
            raise UnsafeArchiveError(f"Archive member '{member.name}' links to '{member.linkname}', outside; refused.")
        if member.islnk() and PurePosixPath(member.linkname) not in files:
            raise UnsafeArchiveError(
                f"Archive member '{member.name}' is a hard link to '{member.linkname}', no file in it; refused."
            )


def _stays_inside(folder: PurePosixPath, target: PurePosixPath) -> bool:
    """Whether a link target stays inside. '..' is allowed in front only: behind a link it would lead elsewhere."""
    parts = list(target.parts)
    num_up = 0
    while num_up < len(parts) and parts[num_up] == "..":
        num_up += 1
    return not target.is_absolute() and ".." not in parts[num_up:] and num_up <= len(folder.parts)


def unpack_tar(
    path: Path,
    members: list[tarfile.TarInfo],
    archive: tarfile.TarFile,
    extract_dir: Path,
    *,
    max_unpacked_bytes: int | None = None,
) -> None:
    """Unpack checked members of an open tar into a folder that appears when it is complete.

    Raises:
        DecompressionLimitError: They are larger than ``max_unpacked_bytes``; see `bionemo.core.unpacking`.
    """
    total = sum(member.size for member in members)
    check_unpacked_size(path, path.stat().st_size, total, max_unpacked_bytes)
    try:
        with atomic_directory(extract_dir, overwrite=True) as folder:
            _extract_all(archive, folder, members, total)
            # tarfile stops at the end mark; reading on to the end lets gzip and its like compare their checksums.
            while archive.fileobj is not None and archive.fileobj.read(1 << 20):
                pass
    except _DAMAGED as error:
        if type(error).__name__ in _REFUSED_BY_TARFILE:
            raise UnsafeArchiveError(f"{path}: {error}") from error
        raise _damaged(path, error) from error


def _extract_all(archive: tarfile.TarFile, folder: Path, members: list[tarfile.TarInfo], total_bytes: int) -> None:
    """Extract checked members without their owners and special mode bits, also where tarfile has no filters.

    Filters came with Python 3.11.4; Debian 12 has 3.11.2.
    """
    with progress_bar(total=total_bytes, unit="B", description="unpacking") as bar:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, members=_counted(members, bar), filter="data")
            return
        for member in members:
            member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        archive.extractall(folder, members=_counted(members, bar))


def _counted(members: Iterable[tarfile.TarInfo], bar: Any) -> Iterator[tarfile.TarInfo]:
    """Iterate over members and move a bar when each has been written."""
    for member in members:
        yield member
        bar.update(member.size)


def unpack_zip(
    path: Path, archive: zipfile.ZipFile, extract_dir: Path, *, max_unpacked_bytes: int | None = None
) -> None:
    """Unpack an open zip whose names were checked into a folder that appears when it is complete.

    Raises:
        DecompressionLimitError: It is larger than ``max_unpacked_bytes``; see `bionemo.core.unpacking`.
    """
    total = sum(member.file_size for member in archive.infolist())  # zipfile reads no more than this of a member
    check_unpacked_size(path, path.stat().st_size, total, max_unpacked_bytes)
    try:
        with atomic_directory(extract_dir, overwrite=True) as folder:
            archive.extractall(folder)
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def decompress(path: Path, target: Path, *, max_unpacked_bytes: int | None = None) -> None:
    """Decompress a .gz, .bz2 or .xz file into another that appears when it is complete.

    Raises:
        DecompressionLimitError: It becomes larger than ``max_unpacked_bytes``; see `bionemo.core.unpacking`.
    """
    packed_bytes = path.stat().st_size
    try:
        with _OPENERS[path.suffix](path, "rb") as source, atomic_file(target) as file:
            while part := source.read(1 << 20):
                file.write(part)
                check_unpacked_size(path, packed_bytes, file.tell(), max_unpacked_bytes)
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def open_tar(path: Path) -> tarfile.TarFile:
    """Open a tar, compressed or not; FormatError where it is none."""
    try:
        return tarfile.open(path, "r")
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def tar_members(path: Path, archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """Read the headers of all members; FormatError where the archive is cut off or damaged."""
    try:
        return archive.getmembers()
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip; FormatError where it is none."""
    try:
        return zipfile.ZipFile(path, "r")
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> Exception:
    """What to raise: the error itself where it is the disk's answer and not about the archive's content."""
    if isinstance(error, BionemoError) or (isinstance(error, OSError) and error.errno is not None):
        return error
    reason = next(iter(str(error).splitlines()), "no reason given")  # tarfile names every compression that it tried
    return FormatError(f"{path}: damaged or not what its name says ({type(error).__name__}: {reason}). Remove it.")
