# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Weights & Biases and TensorBoard for a run, and where its files lie. Works on plain Lightning, without NeMo."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from bionemo.core.optional_deps import require


if TYPE_CHECKING:
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger


logger = logging.getLogger(__name__)

RUN_VERSION = "dev"
"""Folder below the run directory that holds logger output; it has one fixed name, so that a resumed run finds it."""


class WandbConfig(BaseModel):
    """Settings of a Weights & Biases run. Unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entity: str | None = None
    """User or team that owns the project; None takes the account's default."""
    project: str
    name: str | None = None
    """Name of the run as shown; None takes the experiment's name."""
    tags: tuple[str, ...] = ()
    group: str | None = None
    job_type: str | None = None
    offline: bool = False
    """Keep the records on disk until ``wandb sync`` uploads them."""
    id: str | None = None
    """Identifier of a run; the same one again continues it."""
    anonymous: bool = False
    log_model: Literal["all"] | bool = False
    """Upload checkpoints: at the end (True) or each one ("all")."""

    @model_validator(mode="after")
    def _check_uploads(self) -> "WandbConfig":
        if self.offline and self.log_model:
            raise ValueError("log_model uploads checkpoints, which offline forbids: turn one of them off.")
        return self


WandbLoggerOptions = WandbConfig


@dataclass(frozen=True, kw_only=True)
class RunLoggers:
    """What ``setup_nemo_lightning_logger`` set up: give ``loggers`` to Lightning's Trainer."""

    name: str
    root_dir: Path
    tensorboard: "TensorBoardLogger | None"
    wandb: "WandbLogger | None"
    ckpt_callback: "ModelCheckpoint | None"

    @property
    def loggers(self) -> "list[Logger]":
        """Those that are turned on."""
        return [each for each in (self.tensorboard, self.wandb) if each is not None]

    @property
    def run_dir(self) -> Path:
        """``<root_dir>/<name>``."""
        return self.root_dir / self.name

    @property
    def checkpoints_dir(self) -> Path:
        """Where the run's checkpoints go: the callback's folder, else ``<root_dir>/<name>/checkpoints``."""
        if self.ckpt_callback is not None and self.ckpt_callback.dirpath is not None:
            return Path(self.ckpt_callback.dirpath)
        return self.run_dir / "checkpoints"


def setup_nemo_lightning_logger(
    name: str,
    root_dir: str | os.PathLike[str] = "./results",
    initialize_tensorboard_logger: bool = False,
    wandb_config: WandbConfig | None = None,
    ckpt_callback: "ModelCheckpoint | None" = None,
    *,
    wandb_kwargs: WandbConfig | None = None,
) -> RunLoggers:
    """Set up the loggers of a run; no folder is made and nothing is sent yet.

    Args:
        name: Name of the experiment, and of its folder in ``root_dir``.
        root_dir: Folder of all results.
        initialize_tensorboard_logger: Write TensorBoard events to ``<root_dir>/<name>/dev``.
        wandb_config: Settings of Weights & Biases; None turns it off.
        ckpt_callback: Its ``dirpath`` becomes ``<root_dir>/<name>/dev/checkpoints`` unless it has one.
        wandb_kwargs: Older name of ``wandb_config``.

    Raises:
        MissingDependencyError: TensorBoard or W&B is turned on and not installed.
    """
    root_dir = Path(root_dir)
    wandb_config = wandb_config if wandb_config is not None else wandb_kwargs
    if ckpt_callback is not None and ckpt_callback.dirpath is None:
        ckpt_callback.dirpath = str(root_dir / name / RUN_VERSION / "checkpoints")
    loggers = RunLoggers(
        name=name,
        root_dir=root_dir,
        tensorboard=_build_tensorboard(name, root_dir) if initialize_tensorboard_logger else None,
        wandb=None if wandb_config is None else _build_wandb(name, root_dir, wandb_config),
        ckpt_callback=ckpt_callback,
    )
    if not loggers.loggers:
        logger.warning("%s: neither TensorBoard nor Weights & Biases is turned on.", name)
    return loggers


def _build_tensorboard(name: str, root_dir: Path) -> "TensorBoardLogger":
    require("tensorboard", extra="tensorboard")
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(save_dir=root_dir, name=name, version=RUN_VERSION)


def _build_wandb(name: str, root_dir: Path, config: WandbConfig) -> "WandbLogger":
    require("wandb", extra="wandb")
    from lightning.pytorch.loggers import WandbLogger

    # What is not set stays out: wandb has its own defaults, some from environment variables.
    settings: dict[str, Any] = {
        key: value for key, value in config.model_dump().items() if value not in (None, False, ())
    }
    return WandbLogger(**{"name": name, "save_dir": root_dir / name, **settings})
