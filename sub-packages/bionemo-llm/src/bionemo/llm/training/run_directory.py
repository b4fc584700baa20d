# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The run directory ``<result-dir>/<experiment-name>``: what lies where, who may write, and its checkpoints."""

import fcntl
import logging
import os
import re
import signal
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bionemo.core.errors import CheckpointError, ConfigError, DataFileError
from bionemo.core.files import remove_leftovers
from bionemo.core.ranks import process_rank
from bionemo.core.stop_signals import STOP_SIGNALS
from bionemo.llm.checkpoints.json_files import read_json


logger = logging.getLogger(__name__)

STATE_DIR = "training_state"
"""Folder in a checkpoint that holds what a resumed run needs beside the weights."""
CHECKPOINT_NAME = re.compile(r"step-(\d{8})")


class RunDirectory:
    """Paths of one run.

    Args:
        path: ``<result-dir>/<experiment-name>``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_path = self.path / "config.yaml"
        self.resolved_path = self.path / "resolved.yaml"
        self.metrics_path = self.path / "metrics.csv"
        self.log_path = self.path / "log.txt"
        self.plot_path = self.path / "loss.png"
        self.data_dir = self.path / "data"
        self.checkpoints_dir = self.path / "checkpoints"
        self.lock_path = self.path / ".lock"

    @contextmanager
    def locked_by_first_rank(self, *, resume: bool) -> Iterator[None]:
        """Do as ``locked`` on the first rank, nothing on others."""
        if process_rank() != 0:
            yield
            return
        with self.locked(resume=resume):
            yield

    @contextmanager
    def locked(self, *, resume: bool) -> Iterator[None]:
        """Prepare the folder and hold it for one run at a time; what the block leaves empty goes away.

        The kernel holds the lock, so that it ends with the process, however that dies.

        Args:
            resume: Whether the folder may hold a run already.

        Raises:
            ConfigError: See ``prepare``; or another process is training in the folder.
            DataFileError: The folder cannot be written.
        """
        created = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        lock: int | None = None
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # nothing may come between lock and clean-up
        try:
            self.prepare(resume=resume)
            lock = self._lock()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            yield
        finally:
            if lock is not None:
                self.lock_path.unlink(missing_ok=True)
                os.close(lock)
            with suppress(OSError):  # the first one that holds something
                for folder in created:
                    folder.rmdir()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def prepare(self, *, resume: bool) -> None:
        """Make the folder of a new run, or clean up after a killed one that is resumed.

        Args:
            resume: Whether the folder may hold a run already.

        Raises:
            ConfigError: The folder already holds a run, or checkpoints of one, and ``resume`` is off.
            DataFileError: The folder cannot be written.
        """
        if self.config_path.exists() and not resume:
            raise ConfigError(
                f"{self.path} holds a run already. Continue it with --resume-if-exists, or change --experiment-name."
            )
        if not resume and (foreign := self.checkpoints()):
            raise ConfigError(
                f"{self.path}: holds {foreign[-1].name} of another run. Continue that run with --resume-if-exists, "
                "or change --experiment-name."
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataFileError(f"--result-dir {self.path}: cannot be written ({error.strerror}).") from error
        if not os.access(self.path, os.W_OK):
            raise DataFileError(f"--result-dir {self.path}: no permission to write there.")
        for folder in (self.path, self.checkpoints_dir):
            if folder.is_dir():
                remove_leftovers(folder)

    def _lock(self) -> int:
        """Take the kernel's lock on ``.lock``, which names its holder.

        Raises:
            ConfigError: Another process holds it.
        """
        while True:
            lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(lock, 200, 0).decode("utf-8", errors="replace").strip() or "another process"
                os.close(lock)
                raise ConfigError(
                    f"{self.path}: {holder} is training in this folder. Wait for it, or change --experiment-name."
                ) from None
            except OSError as error:
                logger.warning("%s: no file locks here (%s); do not start a second run in it", self.path, error)
                return lock
            with suppress(FileNotFoundError):
                if os.stat(self.lock_path).st_ino == os.fstat(lock).st_ino:  # noqa: PTH116 by descriptor and by path
                    os.ftruncate(lock, 0)
                    os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                    return lock
            os.close(lock)  # its last holder has just removed it

    def checkpoints(self) -> list[Path]:
        """Return the whole checkpoints of the run, oldest first."""
        if not self.checkpoints_dir.is_dir():
            return []
        found = [
            path for path in self.checkpoints_dir.iterdir() if CHECKPOINT_NAME.fullmatch(path.name) and path.is_dir()
        ]
        return sorted(found, key=lambda path: path.name)

    def checkpoint_path(self, step: int) -> Path:
        """Return where the checkpoint of a step lies."""
        return self.checkpoints_dir / f"step-{step:08d}"

    def run_id(self) -> str | None:
        """Return the id of the run in this folder; None for a new one, and for those of version 3.0."""
        if not self.resolved_path.is_file():
            return None
        first, _, _ = self.resolved_path.read_text(encoding="utf-8").partition("\n")
        return first.removeprefix("run_id: ").strip() or None

    def latest_checkpoint(self) -> Path | None:
        """Return the newest checkpoint, or None."""
        checkpoints = self.checkpoints()
        return checkpoints[-1] if checkpoints else None

    def set_aside_after(self, step: int) -> None:
        """Rename checkpoints of later steps than the one that a run resumes from: it will reach these steps again."""
        for path in self.checkpoints():
            if int(path.name.removeprefix("step-")) > step:
                kept = path.with_name(f"{path.name}.replaced-{uuid.uuid4().hex[:6]}")
                logger.warning("%s lies after step %d, from which the run resumes: kept as %s", path, step, kept.name)
                path.rename(kept)

    def advice(self) -> str:
        """Return what to do about a run that has diverged: which checkpoint is good, and how to continue from it."""
        last = self.latest_checkpoint()
        if last is None:
            return "No checkpoint was saved before it. Lower --lr, or lengthen --warmup-steps."
        return (
            f"The last good checkpoint is {last} (step {int(last.name.removeprefix('step-'))}): continue from it with "
            "--resume-if-exists and a lower --lr."
        )

    def point_to(self, name: str, checkpoint: Path) -> None:
        """Point a link beside the checkpoints (``last``, ``best``) to one of them, atomically."""
        link = self.checkpoints_dir / name
        if link.exists() and not link.is_symlink():
            raise CheckpointError(f"{link}: is not a link; remove it, it is not part of the run.")
        unfinished = self.checkpoints_dir / f".{name}.link"
        unfinished.unlink(missing_ok=True)
        unfinished.symlink_to(checkpoint.name)
        unfinished.replace(link)


def new_run_id() -> str:
    """Return an id that no other run has."""
    return uuid.uuid4().hex


def run_id_of(checkpoint: Path) -> str | None:
    """Return the id of the run that wrote a checkpoint; None for those of version 3.0.

    Raises:
        CheckpointError: Its state cannot be read.
    """
    run_id = read_json(checkpoint / STATE_DIR / "state.json").get("run_id")
    return None if run_id is None else str(run_id)
