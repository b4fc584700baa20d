# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The folder that downloads are kept in: one writer for a file at a time, and what was done to it is remembered."""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from bionemo.core.errors import DataFileError
from bionemo.core.files import write_text


logger = logging.getLogger(__name__)


class CacheDirError(DataFileError, PermissionError):
    """The cache folder cannot be made."""


def cached_path(file: Path) -> Path | None:
    """What an earlier call returned for this file, if it is still there."""
    with contextlib.suppress(OSError):
        path = Path(marker(file).read_text(encoding="utf-8"))
        if file.exists() and path.is_absolute() and path.exists():
            return path
    return None


def marker(file: Path) -> Path:
    """Where the path that belongs to a file is recorded."""
    return file.with_name(f"{file.name}.checked")


def remember_path(file: Path, path: Path) -> None:
    """Record what is to be returned for a file from now on."""
    write_text(marker(file), str(path.absolute()))


def make_cache_dir(folder: Path) -> None:
    """Make the cache folder, or say in one line that it cannot be made or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except (PermissionError, FileExistsError, NotADirectoryError):
        writable = False
    except OSError as error:
        raise DataFileError(f"{folder}: the cache cannot be made: {error.strerror}.") from error
    if not writable:
        raise CacheDirError(
            f"Permission denied creating a cache directory at {folder}. "
            "Please set BIONEMO_CACHE_DIR to a directory you have write access to."
        )


@contextlib.contextmanager
def lock(file: Path) -> Iterator[None]:
    """Lock a file; other processes and threads that want the same file wait."""
    with file.with_name(f".{file.name}.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("Waiting for another process that downloads %s.", file.name)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:  # a file system without locks: at worst the file is downloaded twice
            logger.warning("%s: cannot be locked (%s).", lock.name, error)
        yield
