# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What every checkpoint of a run holds beside tensors, whichever ranks write those."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from bionemo.llm.checkpoints.hf_directory import HuggingFaceLayout, write_description
from bionemo.llm.checkpoints.model_card import ModelCard, write_model_card
from bionemo.llm.checkpoints.training_state import write_state_file
from bionemo.llm.training.run_card import reached
from bionemo.llm.training.step_accounting import accounting_of


@dataclass(frozen=True)
class RunFiles:
    """Configuration, tokenizer, model card, and the state of the run.

    Attributes:
        layout: Names of the model family.
        fingerprint: Settings that a continued run must share.
        record: Further plain values for the record, such as the run's id.
        card: Becomes the README.md of each checkpoint; None: there is none.
    """

    layout: HuggingFaceLayout[Any]
    fingerprint: Mapping[str, Any]
    record: Mapping[str, Any] = field(default_factory=dict)
    card: ModelCard | None = None

    def write(
        self,
        folder: Path,
        module: pl.LightningModule,
        config: Any,
        metrics: Mapping[str, float],
        name: str,
        group_keys: Collection[str] | None = None,
        **further: Any,
    ) -> None:
        """Write them into an unfinished checkpoint.

        Args:
            folder: The unfinished checkpoint.
            module: What is saved, with the optimizer and the schedule of its trainer.
            config: The model's.
            metrics: For the record.
            name: That the folder will have.
            group_keys: Which settings of the optimizer's parameter groups are recorded; None: all.
            further: More plain values for the record, such as the number of ranks.
        """
        write_description(folder, self.layout.config_to_hf(config), self.layout)
        progress = accounting_of(module).progress
        if self.card is not None:
            write_model_card(folder, self.card, reached(progress, metrics), name=name)
        optimizer: Any = module.optimizers(use_pl_optimizer=False)
        schedule: Any = module.lr_schedulers()
        groups = [
            {key: group[key] for key in (group if group_keys is None else group_keys) if key != "params"}
            for group in optimizer.param_groups
        ]
        write_state_file(
            folder,
            progress=progress,
            fingerprint=self.fingerprint,
            groups=groups,
            schedule=schedule,
            metrics=dict(metrics),
            **further,
            **self.record,
        )
