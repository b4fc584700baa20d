# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a training engine does for a run: build the model, say how the trainer runs it, share the data, save."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl

from bionemo.llm.checkpoints.model_card import ModelCard
from bionemo.llm.checkpoints.training_state import TrainingState
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.training.checkpoint_writer import CheckpointSink
from bionemo.llm.training.resolve import ResolvedRun
from bionemo.llm.training.task import PretrainTask


class Engine(Protocol):
    """One of ``bionemo.llm.training.lightning_engine`` and ``bionemo.llm.megatron.engine``."""

    def read_state(self, checkpoint: Path) -> TrainingState:
        """Read how far a run had come."""

    def build_module(self, checkpoint: Path | None, resume: TrainingState | None) -> pl.LightningModule:
        """Build the module of a run that starts, or that resumes from a checkpoint."""

    def architecture(self, module: pl.LightningModule) -> BioBertConfig:
        """Architecture of the model that was built, whether the flags or a checkpoint described it."""

    def trainer_settings(self, module: pl.LightningModule) -> dict[str, Any]:
        """Settings of ``bionemo.llm.training.trainer.build_trainer`` that depend on the training engine."""

    def callbacks(self) -> list[pl.Callback]:
        """What the training engine itself needs to be told by the trainer."""

    def checkpoint_sink(
        self, fingerprint: Mapping[str, Any], record: Mapping[str, Any], card: ModelCard
    ) -> CheckpointSink:
        """Where checkpoints go: with the settings that a resumed run must share, further plain values, and a card."""

    def data_share(self, rank: int, world_size: int) -> tuple[int, int]:
        """Place among the ranks that see different packed batches, and their number."""

    def collate(self, module: pl.LightningModule) -> Callable[[Any], Any]:
        """What is done to a batch in the loader's process."""


def build_engine(resolved: ResolvedRun, task: PretrainTask) -> Engine:
    """Build the training engine of a run.

    Raises:
        MissingDependencyError: The megatron engine needs NeMo, which is not installed.
    """
    if resolved.engine == "megatron":
        from bionemo.llm.megatron.engine import MegatronEngine

        return MegatronEngine(resolved, task)
    from bionemo.llm.training.lightning_engine import LightningEngine

    return LightningEngine(resolved, task)
