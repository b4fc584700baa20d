# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Flags that commands of several packages share, each declared once.

A config inherits a whole group, or takes one flag of it by :func:`bionemo.core.config.option_like`::

    @dataclass(frozen=True, kw_only=True)
    class TrainConfig(RunFlags):
        experiment_name: str = option_like(RunFlags, "experiment_name", "esm2")
        seed: int = option_like(SharedFlags, "seed", 42)
"""

import re
from dataclasses import dataclass
from pathlib import Path

from bionemo.core.config import option
from bionemo.core.errors import ConfigError


OUTPUT = "output"


@dataclass(frozen=True, kw_only=True)
class FlagGroup:
    """Base of groups of flags: each group checks its own values and then asks the next."""

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A value is out of range; the message names the flag.
        """


@dataclass(frozen=True, kw_only=True)
class RunFlags(FlagGroup):
    """Where a training run is kept."""

    result_dir: Path = option(Path("results"), group=OUTPUT, help="Folder that holds the run folders.")
    experiment_name: str = option("run", group=OUTPUT, help="Name of the run's folder inside --result-dir.")

    def __post_init__(self) -> None:
        """Check the name of the run.

        Raises:
            ConfigError: It would name another folder than one inside ``result_dir``.
        """
        check_folder_name("--experiment-name", self.experiment_name)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class SharedFlags(FlagGroup):
    """Flags that are taken one by one."""

    results_path: Path = option(group=OUTPUT, help="Folder to write; it appears when it is complete.")
    overwrite: bool = option(False, group=OUTPUT, help="Replace the output of an earlier call.")
    seed: int = option(42, help="Seed of all random choices.")
    max_memory_mb: int = option(1_000, help="Memory limit in MB for the data in work, all processes together.")
    valid_fraction: float = option(
        0.05, help="Validation split: fraction of the training data held out when no validation data are given."
    )
    num_dataset_workers: int = option(
        0, help="Data loader workers: processes that prepare batches; 0 prepares them in the main process."
    )
    micro_batch_size: int | None = option(
        None,
        help="Micro-batch size: samples per rank and forward pass; where batches are packed, this many samples of "
        "maximum length are the token budget.",
    )
    tokens_per_batch: int | None = option(
        None,
        help="Token budget of a packed batch on one rank; default: 32,768 on a GPU, 4,096 on a CPU, at least the "
        "longest sample.",
    )


def check_folder_name(flag: str, name: str) -> None:
    """Refuse a name that is not that of one folder.

    Args:
        flag: What to call it in the message.
        name: What was given.

    Raises:
        ConfigError: It is empty, ``.``, ``..``, or holds a path separator or a control character.
    """
    if name in ("", ".", "..") or re.search(r"[/\\\x00-\x1f]", name):
        raise ConfigError(f"{flag} {name!r}: must be one folder name, without path separators.")
