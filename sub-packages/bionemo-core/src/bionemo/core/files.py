# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Atomic writes: a reader sees the old content or the new one, never half of it.

Everything is written under a temporary name in the target's own folder, flushed to the disk and then renamed. A killed
writer leaves nothing but its temporary name behind, which :func:`is_leftover` recognizes and :func:`remove_leftovers`
clears. A writer holds a lock on its temporary name while it lives, so that clearing never takes away live work.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from bionemo.core.errors import DataFileError, FormatError


_LEFTOVER = re.compile(r"^\..*\.[0-9a-f]{16}\.bionemo-tmp$", re.DOTALL)
_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100  # linux/fcntl.h
# What a disk, quota or permission can answer; other OSErrors raised inside a ``with`` block (a lost connection, say)
# are not about the file being written and pass through unchanged.
_STORAGE_ERRNOS = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EFBIG,
        errno.EIO,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EPERM,
        errno.EROFS,
    }
)


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str], mode: str = "wb", *, encoding: str | None = None) -> Iterator[IO[Any]]:
    """Open a file for writing that appears under its name only when the block ends without an exception.

    Args:
        path: Where the file shall be. Missing parent folders are made; a symbolic link is followed, as ``open`` does.
        mode: ``"wb"`` or ``"w+b"`` for bytes, ``"w"`` or ``"w+"`` for text (lines end in a single newline character).
        encoding: Text modes only; UTF-8 unless given.

    Yields:
        The open temporary file, in the same folder. It is synced and renamed on success and removed on an exception.

    Raises:
        DataFileError: The file cannot be written (disk full, read-only, no permission, a folder is in the way).
        ValueError: Another mode.
    """
    if mode not in ("wb", "w+b", "w", "w+"):
        raise ValueError(f"mode must be one of 'wb', 'w+b', 'w', 'w+', but got {mode!r}.")
    is_text = "b" not in mode
    target = Path(path).resolve()
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary, lock = _reserve(target, is_folder=False)
        try:
            with os.fdopen(
                os.dup(lock),
                mode,
                encoding=(encoding or "utf-8") if is_text else None,
                newline="\n" if is_text else None,
            ) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            _sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)  # already renamed after a success
            os.close(lock)


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Fill a folder that appears under its name only when the block ends without an exception.

    Args:
        path: Where the folder shall be. Missing parents are made; an empty folder of that name may exist.
        overwrite: Whether a folder with content may be replaced. On Linux the two folders are exchanged in one step:
            a reader finds the old or the new one at every moment. Where the system cannot exchange (not Linux, some
            network file systems) the old folder is first renamed to ``<name>.replaced-<hex>``: for an instant the
            name is missing, and a writer killed then leaves the old folder under that visible name.

    Yields:
        The temporary folder. Each file in it is synced before the rename; it is removed on an exception.

    Raises:
        DataFileError: The folder has content and ``overwrite`` is off, a file has its name, or it cannot be written.
    """
    target = Path(path).resolve()
    _check_replaceable(target, overwrite=overwrite)
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary, lock = _reserve(target, is_folder=True)
        try:
            yield temporary
            _sync_tree(temporary)
            _check_replaceable(target, overwrite=overwrite)
            if _has_content(target):
                _exchange(temporary, target)
            else:
                temporary.rename(target)
            _sync_folder(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)  # the unfinished new folder, or the old one after an exchange
            os.close(lock)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a whole binary file atomically; see :func:`atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a whole UTF-8 text file atomically; see :func:`atomic_file`."""
    with atomic_file(path, "w") as file:
        file.write(text)


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write an object as indented JSON, ending in a newline, atomically; see :func:`atomic_file`."""
    write_text(path, json.dumps(obj, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file in UTF-8.

    Raises:
        FormatError: It is no JSON, or nests deeper than Python's recursion.
        OSError: It cannot be read.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: is no JSON ({error}).") from error


@contextlib.contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Turn what the disk answers while ``target`` is written into one line that names it.

    Raises:
        DataFileError: An OSError that is about the target, its parents or its temporary name, or that names no file
            (as for a full disk). Others pass unchanged.
    """
    try:
        yield
    except DataFileError:
        raise
    except OSError as error:
        if error.errno not in _STORAGE_ERRNOS or not _concerns(target, error.filename):
            raise
        hint = {errno.ENOSPC: "Free some space", errno.EDQUOT: "Free some of the quota"}.get(
            error.errno or 0, "Check the path and its permissions"
        )
        raise DataFileError(f"{target}: cannot be written: {error.strerror}. {hint} or write elsewhere.") from error


def move_into_place(source: Path, target: Path) -> None:
    """Sync a finished file that stands in the target's folder, and rename it; replaces an older file.

    Raises:
        DataFileError: It cannot be synced or renamed.
    """
    with storage_errors(target):
        sync_path(source)
        source.replace(target)
        _sync_folder(target.parent)


def is_leftover(path: str | os.PathLike[str]) -> bool:
    """Return whether a name is a temporary one of this module: unfinished work, to be ignored by every reader."""
    return _LEFTOVER.match(Path(path).name) is not None


def remove_leftovers(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove what killed writers left directly inside a folder; temporary names of living writers stay.

    Returns:
        The paths removed, sorted.

    Raises:
        DataFileError: A leftover cannot be removed.
    """
    removed = []
    for path in sorted(Path(folder).iterdir()):
        if not is_leftover(path):
            continue
        with storage_errors(path):
            try:
                lock = os.open(path, os.O_RDONLY)
            except FileNotFoundError:  # its writer finished meanwhile
                continue
            try:
                if not _try_lock(lock):
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            finally:
                os.close(lock)
        removed.append(path)
    return removed


def _reserve(target: Path, *, is_folder: bool) -> tuple[Path, int]:
    """Make the temporary file or folder for a target and lock it; returns its path and the locked descriptor."""
    while True:
        stem = target.name[:80]  # names may have 255 bytes; 80 characters of UTF-8 leave room for the rest
        stem = stem if len(os.fsencode(stem)) <= 200 else "long-name"
        temporary = target.with_name(f".{stem}.{secrets.token_hex(8)}.bionemo-tmp")
        if is_folder:
            temporary.mkdir()
            try:
                lock = os.open(temporary, os.O_RDONLY)
            except FileNotFoundError:  # removed as a leftover before it could be locked: take another name
                continue
        else:
            lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if _try_lock(lock) and temporary.exists():
            return temporary, lock
        os.close(lock)  # a clearing process came between making and locking: take another name


def _try_lock(descriptor: int) -> bool:
    """Lock without waiting; a file system without locks counts as locked by us."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _check_replaceable(target: Path, *, overwrite: bool) -> None:
    if target.exists() and not target.is_dir():
        raise DataFileError(f"{target}: is a file where a folder is to be written. Choose another name.")
    if not overwrite and _has_content(target):
        raise DataFileError(
            f"{target}: the folder exists already and is not empty. Choose another, or replace it with --overwrite "
            "(overwrite=True)."
        )


def _has_content(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _exchange(temporary: Path, target: Path) -> None:
    """Swap two folders in one step where the system can, in two renames otherwise."""
    if sys.platform == "linux":
        import ctypes

        renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        if renameat2 is not None:
            source, destination = os.fsencode(temporary), os.fsencode(target)
            if renameat2(_AT_FDCWD, source, _AT_FDCWD, destination, ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
                return
            if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    replaced = target.with_name(f"{target.name}.replaced-{secrets.token_hex(4)}")
    target.rename(replaced)
    temporary.rename(target)
    replaced.rename(temporary)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if not path.is_symlink() and (path.is_file() or path.is_dir()):
            sync_path(path)
    sync_path(folder)


def _sync_folder(folder: Path) -> None:
    # Some network file systems refuse to sync a folder; the rename itself has happened by then.
    with contextlib.suppress(OSError):
        sync_path(folder)


def _concerns(target: Path, filename: str | bytes | None) -> bool:
    """Tell whether an OSError is about writing ``target``: it names no file (a full disk), the target or its parts."""
    if filename is None:
        return True
    path = Path(os.fsdecode(filename))
    return path == target or target.is_relative_to(path) or any(is_leftover(part) for part in path.parts)


def sync_path(path: Path) -> None:
    """Wait until a file or folder is on the disk, so that a later sync of what holds it takes no time."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
