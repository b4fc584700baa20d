# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a model that is whole on the first rank, written by a thread while training continues."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from bionemo.core.files import write_text
from bionemo.llm.checkpoints.hf_directory import (
    CONFIG_FILE,
    HuggingFaceLayout,
    size_and_checksum,
    write_checksums,
    write_tensors,
)
from bionemo.llm.checkpoints.model_card import ModelCard, write_model_card
from bionemo.llm.checkpoints.training_state import OPTIMIZER_FILE, write_state_file
from bionemo.llm.checkpoints.weight_files import WEIGHTS_FILE
from bionemo.llm.training.optimizer import trainable_parameters
from bionemo.llm.training.ranks.sharded_sink import HostCopies, sync_file
from bionemo.llm.training.run_card import reached
from bionemo.llm.training.run_directory import STATE_DIR
from bionemo.llm.training.step_accounting import accounting_of


class WholeModelParts:
    """See ``CheckpointParts``: the first rank writes everything.

    Args:
        layout: Names of the model family.
        fingerprint: Settings that a continued run must share.
        record: Further plain values for the record, such as the run's id.
        card: Becomes the README.md of each checkpoint; None: there is none.
    """

    def __init__(
        self,
        layout: HuggingFaceLayout[Any],
        fingerprint: Mapping[str, Any],
        record: Mapping[str, Any] | None = None,
        card: ModelCard | None = None,
    ) -> None:
        self.layout, self.fingerprint, self.record, self.card = layout, fingerprint, dict(record or {}), card
        self._copies = HostCopies()
        self._written: dict[str, Any] = {}

    def write_rest(self, folder: Path, module: pl.LightningModule, metrics: Mapping[str, float], name: str) -> None:
        """Write configuration, tokenizer, model card, and the state of the run."""
        config: Any = module.config
        text = json.dumps(self.layout.config_to_hf(config), indent=2, sort_keys=True) + "\n"
        write_text(folder / CONFIG_FILE, text)
        self.layout.save_tokenizer(folder)
        progress = accounting_of(module).progress
        if self.card is not None:
            write_model_card(folder, self.card, reached(progress, metrics), name=name)
        optimizer: Any = module.optimizers(use_pl_optimizer=False)
        schedule: Any = module.lr_schedulers()
        groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        write_state_file(
            folder, progress=progress, fingerprint=self.fingerprint, groups=groups, schedule=schedule,
            metrics=dict(metrics), **self.record,
        )  # fmt: skip

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
                (WEIGHTS_FILE, self.layout.tensors_to_hf(weights, config)),
                (f"{STATE_DIR}/{OPTIMIZER_FILE}", moments),
            ):
                write_tensors(folder / name, tensors)
                sync_file(folder / name)
                self._written[name] = size_and_checksum(folder / name)

        return write

    def complete(self, folder: Path, world_size: int) -> None:
        """Write the checksums."""
        write_checksums(folder, self._written)
