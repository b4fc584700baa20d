# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a model that is whole on the first rank, written by a thread while training continues."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from bionemo.core.files import sync_path
from bionemo.llm.checkpoints.hf_directory import (
    size_and_checksum,
    write_checksums,
    write_tensors,
)
from bionemo.llm.checkpoints.training_state import OPTIMIZER_FILE
from bionemo.llm.checkpoints.weight_files import WEIGHTS_FILE
from bionemo.llm.training.optimizer import trainable_parameters
from bionemo.llm.training.ranks.run_files import RunFiles
from bionemo.llm.training.ranks.sharded_sink import HostCopies
from bionemo.llm.training.run_directory import STATE_DIR


class WholeModelParts:
    """See ``CheckpointParts``: the first rank writes everything.

    Args:
        files: What is beside the tensors.
    """

    def __init__(self, files: RunFiles) -> None:
        self.files = files
        self._copies = HostCopies()
        self._written: dict[str, Any] = {}

    def write_rest(self, folder: Path, module: pl.LightningModule, metrics: Mapping[str, float], name: str) -> None:
        """Write configuration, tokenizer, model card, and the state of the run."""
        self.files.write(folder, module, module.config, metrics, name)

    def take(self, module: pl.LightningModule, *, copy: bool) -> Callable[[Path], None]:
        """Copy weights and moments to the host, and return what writes them."""
        if not module.trainer.is_global_zero:
            return lambda folder: None
        model, optimizer = module.module, module.optimizers(use_pl_optimizer=False)
        assert isinstance(model, nn.Module)
        assert isinstance(optimizer, torch.optim.Optimizer)
        weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
        moments = {
            f"{moment}.{name}": value
            for name, parameter in trainable_parameters(model).items()
            for moment, value in optimizer.state.get(parameter, {}).items()
        }
        if copy:
            weights, moments = self._copies.copy(weights, "weights"), self._copies.copy(moments, "moments")
        config = module.config

        def write(folder: Path) -> None:
            self._written = {}
            for name, tensors in (
                (WEIGHTS_FILE, self.files.layout.tensors_to_hf(weights, config)),
                (f"{STATE_DIR}/{OPTIMIZER_FILE}", moments),
            ):
                write_tensors(folder / name, tensors)
                sync_path(folder / name)
                self._written[name] = size_and_checksum(folder / name)

        return write

    def complete(self, folder: Path, world_size: int) -> None:
        """Write the checksums."""
        write_checksums(folder, self._written)
