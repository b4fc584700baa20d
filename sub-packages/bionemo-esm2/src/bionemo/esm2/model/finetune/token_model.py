# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible configuration and model of a head on residues."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bionemo.core.errors import ConfigError
from bionemo.esm2.finetuning.head_config import HeadConfig
from bionemo.esm2.finetuning.heads import ESM2WithHead, MegatronConvNetHead
from bionemo.esm2.model.finetune.loss import ClassifierLossReduction
from bionemo.esm2.model.finetune.sequence_model import anonymous_targets, encoder_config
from bionemo.esm2.model.model import ESM2Config, ESM2Model


__all__ = ["ESM2FineTuneTokenConfig", "ESM2FineTuneTokenModel", "MegatronConvNetHead"]


class ESM2FineTuneTokenModel(ESM2WithHead):
    """Labels residues: ``classification_output``, [B, S, classes], zero at special tokens and padding."""

    def forward(  # type: ignore[override]  # BioNeMo 2 answers with a dictionary
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **rest: Any
    ) -> dict[str, Tensor]:
        """Run a padded batch [B, S]; further arguments of BioNeMo 2's callers are not needed."""
        return {"classification_output": super().forward(input_ids, attention_mask)}


@dataclass(frozen=True, kw_only=True)
class ESM2FineTuneTokenConfig(ESM2Config):
    """An ESM-2 with a head of two convolutions over residues.

    Attributes:
        task_type: "classification".
        encoder_frozen: Whether the head alone is trained.
        cnn_dropout: Of the head.
        cnn_hidden_size: Of the head.
        cnn_num_classes: Classes.
    """

    task_type: str = "classification"
    encoder_frozen: bool = True
    cnn_dropout: float = 0.25
    cnn_hidden_size: int = 32
    cnn_num_classes: int = 3

    def __post_init__(self) -> None:
        """Check the task.

        Raises:
            ConfigError: It is no classification.
        """
        super().__post_init__()
        if self.task_type != "classification":
            raise ConfigError(
                f"task_type {self.task_type}: residues have classes here; finetune_esm2 also takes values."
            )

    @property
    def head(self) -> HeadConfig:
        """The head as `bionemo.esm2.finetuning` describes it."""
        return HeadConfig(
            level="residue",
            targets=anonymous_targets(self.task_type, self.cnn_num_classes),
            kind="cnn",
            hidden_size=self.cnn_hidden_size,
            dropout=self.cnn_dropout,
        )

    def configure_model(self, tokenizer: Any) -> ESM2FineTuneTokenModel:  # type: ignore[override]  # encoder and head
        """Build encoder and head for a tokenizer; the encoder's weights come from ``initial_ckpt_path`` if given."""
        encoder = encoder_config(self).configure_model(tokenizer)
        assert isinstance(encoder, ESM2Model)
        model = ESM2FineTuneTokenModel(encoder, self.head)
        model.model.requires_grad_(not self.encoder_frozen)
        return model

    def get_loss_reduction_class(self) -> type[Any]:
        """Class that turns batches and outputs into losses."""
        return ClassifierLossReduction
