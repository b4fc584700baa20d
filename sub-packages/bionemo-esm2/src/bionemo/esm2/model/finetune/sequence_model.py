# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible configuration and model of a head on whole sequences."""

from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from bionemo.core.errors import ConfigError
from bionemo.esm2.finetuning.head_config import HeadConfig, Target
from bionemo.esm2.finetuning.heads import ESM2WithHead, MegatronMLPHead
from bionemo.esm2.model.finetune.loss import ClassifierLossReduction, RegressorLossReduction
from bionemo.esm2.model.model import ESM2Config, ESM2Model


__all__ = ["ESM2FineTuneSeqConfig", "ESM2FineTuneSeqModel", "MegatronMLPHead", "encoder_config"]

TASK_TYPES = ("regression", "classification")


class ESM2FineTuneSeqModel(ESM2WithHead):
    """Labels sequences: ``regression_output`` or ``classification_output``, [B, outputs]."""

    def forward(  # type: ignore[override]  # BioNeMo 2 answers with a dictionary
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **rest: Any
    ) -> dict[str, Tensor]:
        """Run a padded batch [B, S]; further arguments of BioNeMo 2's callers are not needed."""
        return {output_name(self.head_config): super().forward(input_ids, attention_mask)}


@dataclass(frozen=True, kw_only=True)
class ESM2FineTuneSeqConfig(ESM2Config):
    """An ESM-2 with a head of two linear layers on the mean of the residues.

    Attributes:
        task_type: "regression" or "classification".
        encoder_frozen: Whether the head alone is trained.
        mlp_ft_dropout: Of the head.
        mlp_hidden_size: Of the head.
        mlp_target_size: Outputs: values, or classes.
    """

    task_type: str = "regression"
    encoder_frozen: bool = True
    mlp_ft_dropout: float = 0.25
    mlp_hidden_size: int = 256
    mlp_target_size: int = 1

    def __post_init__(self) -> None:
        """Check the task.

        Raises:
            ConfigError: It is unknown, or a classification has one class.
        """
        super().__post_init__()
        if self.task_type not in TASK_TYPES:
            raise ConfigError(f"task_type {self.task_type}: expected one of {', '.join(TASK_TYPES)}.")

    @property
    def head(self) -> HeadConfig:
        """The head as `bionemo.esm2.finetuning` describes it."""
        return HeadConfig(
            level="sequence",
            targets=anonymous_targets(self.task_type, self.mlp_target_size),
            kind="mlp",
            hidden_size=self.mlp_hidden_size,
            dropout=self.mlp_ft_dropout,
        )

    def configure_model(self, tokenizer: Any) -> ESM2FineTuneSeqModel:  # type: ignore[override]  # encoder and head
        """Build encoder and head for a tokenizer; the encoder's weights come from ``initial_ckpt_path`` if given."""
        encoder = encoder_config(self).configure_model(tokenizer)
        assert isinstance(encoder, ESM2Model)
        model = ESM2FineTuneSeqModel(encoder, self.head)
        model.model.requires_grad_(not self.encoder_frozen)
        return model

    def get_loss_reduction_class(self) -> type[Any]:
        """Class that turns batches and outputs into losses."""
        return RegressorLossReduction if self.task_type == "regression" else ClassifierLossReduction


def encoder_config(config: ESM2Config) -> ESM2Config:
    """Return the architecture of a configuration's encoder alone."""
    return ESM2Config(**{field.name: getattr(config, field.name) for field in fields(ESM2Config) if field.init})


def anonymous_targets(task_type: str, num_outputs: int) -> tuple[Target, ...]:
    """Return targets of which only the number of outputs is known."""
    if task_type == "classification":
        return (Target(column="labels", kind="classification", classes=tuple(map(str, range(num_outputs)))),)
    if num_outputs == 1:
        return (Target(column="labels", kind="regression"),)
    return tuple(Target(column=f"labels_{number}", kind="regression") for number in range(num_outputs))


def output_name(head: HeadConfig) -> str:
    """Return the key of a head's output."""
    return f"{head.targets[0].kind}_output"
