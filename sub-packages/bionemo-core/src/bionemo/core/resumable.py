# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Folders that are filled part by part: a killed run is resumed, and readers see only what is complete.

The parts lie in ``NAME.incomplete`` beside the folder to be, together with the settings that decide on them. When all
are there, the folder gets its name in one step.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bionemo.core.errors import ConfigError, DataError, DataFileError
from bionemo.core.files import move_into_place, remove_leftovers, storage_errors, write_json


PLAN_NAME = "plan.json"


class ResumableDirectory:
    """A folder in the making; see :func:`resumable_directory`.

    Attributes:
        path: The folder to be.
        work_dir: Where its parts are until then.
    """

    def __init__(self, path: Path):
        self.path = path
        self.work_dir = path.with_name(f"{path.name}.incomplete")

    def part(self, name: str) -> Path:
        """Where a part is to be written; atomically, so that a part that is there is whole."""
        return self.work_dir / name

    def has(self, name: str) -> bool:
        """Whether an earlier run, or this one, wrote a part."""
        return self.part(name).exists()


@contextlib.contextmanager
def resumable_directory(path: str | os.PathLike[str], plan: Mapping[str, Any]) -> Iterator[ResumableDirectory]:
    """Fill a folder that appears under its name when the block ends; what a killed or failed block wrote is kept.

    Bad input is the exception: after a `ConfigError` or `DataError` in the block nothing remains.

    Args:
        path: Where the folder shall be; nothing but an empty folder may have that name.
        plan: What decides on the content of the parts: inputs and settings, as plain values for JSON. Parts of an
            earlier run are kept only if it had the same.

    Yields:
        The folder in the making.

    Raises:
        DataFileError: The folder exists already, cannot be written, or another process is filling it.
        ConfigError: Unfinished work was begun with other settings.
    """
    folder = ResumableDirectory(Path(path).resolve())
    wanted = json.loads(json.dumps(plan))
    if folder.path.exists() and not (folder.path.is_dir() and not any(folder.path.iterdir())):
        raise DataFileError(f"{folder.path}: exists already. Choose another name or remove it.")
    with storage_errors(folder.work_dir):
        folder.work_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder.work_dir, os.O_RDONLY)
    try:
        _lock(lock, folder.work_dir)
        remove_leftovers(folder.work_dir)
        _agree(folder.part(PLAN_NAME), wanted)
        try:
            yield folder
        except (ConfigError, DataError):
            shutil.rmtree(folder.work_dir, ignore_errors=True)
            raise
        move_into_place(folder.work_dir, folder.path)
        (folder.path / PLAN_NAME).unlink()
    finally:
        os.close(lock)


def unfinished_plan(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what decides on the content of unfinished work; empty where there is none."""
    folder = ResumableDirectory(Path(path).resolve())
    try:
        plan = json.loads(folder.part(PLAN_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return plan if isinstance(plan, dict) else {}


def discard_unfinished(path: str | os.PathLike[str]) -> None:
    """Remove what a killed run left of a folder that never got its name.

    Args:
        path: The folder to be.

    Raises:
        DataFileError: Another process is filling it.
    """
    work_dir = ResumableDirectory(Path(path).resolve()).work_dir
    if not work_dir.is_dir():
        return
    lock = os.open(work_dir, os.O_RDONLY)
    try:
        _lock(lock, work_dir)
        shutil.rmtree(work_dir)
    finally:
        os.close(lock)


def _lock(descriptor: int, work_dir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataFileError(
            f"{work_dir}: another process is filling it. Wait for it, or choose another name."
        ) from None
    except OSError:  # a file system without locks
        return


def _agree(plan_path: Path, wanted: Any) -> None:
    try:
        found = json.loads(plan_path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if any(plan_path.parent.iterdir()):
            raise ConfigError(f"{plan_path.parent}: holds files without a plan. Remove it.") from None
        write_json(plan_path, wanted)
        return
    except ValueError:
        found = None
    if found != wanted:
        names = sorted(key for key in {*wanted, *(found or {})} if (found or {}).get(key) != wanted.get(key))
        raise ConfigError(
            f"{plan_path.parent}: holds unfinished work with other settings ({', '.join(names)}). "
            "Repeat those settings to go on, or remove the folder."
        )
