# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The run directory ``<result-dir>/<experiment-name>``: what lies where, and which checkpoint is the latest."""

import os
import re
from pathlib import Path

from bionemo.core.errors import CheckpointError, ConfigError, DataFileError
from bionemo.core.files import remove_leftovers


CHECKPOINT_NAME = re.compile(r"step-(\d{8})")


class RunDirectory:
    """Paths of one run.

    Args:
        path: ``<result-dir>/<experiment-name>``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_path = self.path / "config.yaml"
        self.metrics_path = self.path / "metrics.csv"
        self.log_path = self.path / "log.txt"
        self.plot_path = self.path / "loss.png"
        self.data_dir = self.path / "data"
        self.checkpoints_dir = self.path / "checkpoints"

    def prepare(self, *, resume: bool) -> None:
        """Make the folders of a new run, or clean up after a killed one that is continued.

        Raises:
            ConfigError: The folder already holds a run and ``resume`` is off.
            DataFileError: The folder cannot be written.
        """
        if self.config_path.exists() and not resume:
            raise ConfigError(
                f"{self.path} holds a run already. Continue it with --resume-if-exists, or change --experiment-name."
            )
        try:
            self.checkpoints_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataFileError(f"--result-dir {self.path}: cannot be written ({error.strerror}).") from error
        if not os.access(self.path, os.W_OK):
            raise DataFileError(f"--result-dir {self.path}: no permission to write there.")
        for folder in (self.path, self.checkpoints_dir):
            remove_leftovers(folder)

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints of the run, oldest first."""
        if not self.checkpoints_dir.is_dir():
            return []
        found = [
            path for path in self.checkpoints_dir.iterdir() if CHECKPOINT_NAME.fullmatch(path.name) and path.is_dir()
        ]
        return sorted(found, key=lambda path: path.name)

    def checkpoint_path(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.checkpoints_dir / f"step-{step:08d}"

    def latest_checkpoint(self) -> Path | None:
        """The newest checkpoint, or None."""
        checkpoints = self.checkpoints()
        return checkpoints[-1] if checkpoints else None

    def point_to(self, name: str, checkpoint: Path) -> None:
        """Let a link beside the checkpoints (``last``, ``best``) name one of them; it is replaced at once."""
        link = self.checkpoints_dir / name
        if link.exists() and not link.is_symlink():
            raise CheckpointError(f"{link}: is not a link; remove it, it is not part of the run.")
        unfinished = self.checkpoints_dir / f".{name}.link"
        unfinished.unlink(missing_ok=True)
        unfinished.symlink_to(checkpoint.name)
        unfinished.replace(link)
