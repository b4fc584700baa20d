# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Configs that take architecture and weights from a checkpoint, and keep the fields that are the user's own.

This is how fine-tuning starts: "as in that checkpoint, but with these fields from me". A config never changes; what a
checkpoint says comes back as a new one.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from bionemo.core.errors import ConfigError
from bionemo.core.model.config import BionemoModelConfig, BionemoTrainableModelConfig


if TYPE_CHECKING:
    from torch import nn

    from bionemo.llm.checkpoints.hf_directory import HuggingFaceLayout


OVERRIDE_BIONEMO_CONFIG_DEFAULTS = (
    "initial_ckpt_path",
    "initial_ckpt_path_ignore_weights",
    "initial_ckpt_skip_keys_with_these_prefixes",
    "override_parent_fields",
    "model_cls",
    "bf16",
    "fp16",
    "train_metric",
    "valid_metric",
)
"""Fields that always stay the user's."""

OVERRIDE_BIOBERT_CONFIG_DEFAULTS = (
    *OVERRIDE_BIONEMO_CONFIG_DEFAULTS,
    "return_only_hidden_states",
    "return_embeddings",
    "include_hiddens",
    "include_embeddings",
    "include_input_ids",
    "skip_logits",
    "params_dtype",
    "pipeline_dtype",
    "autocast_dtype",
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "context_parallel_size",
    "make_vocab_size_divisible_by",
    "biobert_spec_option",
)
"""The same for BERT: what comes out of the model, its dtypes and its layout over devices, none of it architecture."""

METRIC_TASKS = ("pretraining", "classification", "regression")


@dataclass(frozen=True)
class TorchmetricsConfig:
    """A metric of torchmetrics as plain values.

    Args:
        class_path: Where the class is within torchmetrics, for example "text.Perplexity" or "Accuracy".
        task: What it measures: "pretraining", "classification" or "regression".
        metric_name: Name under which it is logged.
        kwargs: Arguments of the class.
    """

    class_path: str
    task: str
    metric_name: str
    kwargs: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown task.

        Raises:
            ConfigError: ``task`` is none of the three.
        """
        if self.task not in METRIC_TASKS:
            raise ConfigError(f"TorchmetricsConfig task {self.task!r}: not one of {', '.join(METRIC_TASKS)}.")

    def get_instance(self) -> Any:
        """Build the metric.

        Raises:
            ConfigError: torchmetrics has no such class.
        """
        import torchmetrics

        found: Any = torchmetrics
        for name in self.class_path.split("."):
            found = getattr(found, name, None)
        if not (isinstance(found, type) and issubclass(found, torchmetrics.Metric)):
            raise ConfigError(
                f"TorchmetricsConfig class_path {self.class_path!r}: torchmetrics has no such metric. "
                "Give its place below torchmetrics, for example 'text.Perplexity'."
            )
        return found(**(self.kwargs or {}))


@dataclass(frozen=True, kw_only=True)
class MegatronBioNeMoModelConfig(BionemoModelConfig[Any]):
    """Base of configs whose models can start from a checkpoint in Hugging Face layout.

    A subclass adds its architecture's fields, builds in ``configure_model``, and says in ``hf_layout`` how its
    checkpoints are named.
    """

    default_override_parent_fields: ClassVar[tuple[str, ...]] = OVERRIDE_BIONEMO_CONFIG_DEFAULTS

    initial_ckpt_path: str | None = None
    """Checkpoint folder that gives architecture and weights; None starts from nothing."""
    initial_ckpt_path_ignore_weights: bool = False
    """Take only the architecture from there."""
    initial_ckpt_skip_keys_with_these_prefixes: tuple[str, ...] = ()
    """Weights with these prefixes are not taken from there: new heads."""
    override_parent_fields: tuple[str, ...] | None = None
    """Fields that keep this config's value; None stands for the class's ``default_override_parent_fields``."""

    def hf_layout(self) -> "HuggingFaceLayout[Any]":
        """How checkpoints of this family name their parameters and settings.

        Raises:
            ConfigError: The class has none.
        """
        raise ConfigError(f"{type(self).__name__}: cannot read checkpoints, it does not say hf_layout().")

    def load_settings_from_checkpoint(self, path: str | Path) -> Self:
        """Take every setting that the checkpoint has, except ``override_parent_fields``.

        Args:
            path: Folder with ``config.json``.

        Returns:
            A config of the same class; this one stays as it is.

        Raises:
            CheckpointError: There is no checkpoint of this family.
        """
        from bionemo.llm.checkpoints.hf_directory import CONFIG_FILE
        from bionemo.llm.checkpoints.json_files import read_json

        stored = self.hf_layout().config_from_hf(read_json(Path(path) / CONFIG_FILE), str(path))
        kept = self.override_parent_fields
        kept = self.default_override_parent_fields if kept is None else kept
        return merge_settings(self, stored, keep=kept)

    def update_model_from_checkpoint(self, model: "nn.Module", path: str | Path) -> None:
        """Load the checkpoint's weights into a model, except ``initial_ckpt_skip_keys_with_these_prefixes``.

        Raises:
            CheckpointError: The checkpoint is damaged or does not fit the model; the model is then unchanged.
        """
        from bionemo.llm.checkpoints.hf_directory import load_checkpoint
        from bionemo.llm.utils.weight_utils import load_weights_skipping_prefixes

        state = load_checkpoint(path, self.hf_layout()).state
        load_weights_skipping_prefixes(model, state, self.initial_ckpt_skip_keys_with_these_prefixes, path)


@dataclass(frozen=True, kw_only=True)
class MegatronBioNeMoTrainableModelConfig(MegatronBioNeMoModelConfig, BionemoTrainableModelConfig[Any, Any]):
    """A model config that also names its metrics and its loss."""

    train_metric: TorchmetricsConfig | None = None
    valid_metric: TorchmetricsConfig | None = None

    def get_loss_reduction_class(self) -> type[Any]:
        """Class that turns batches and outputs into losses; masked-language-model loss unless overridden."""
        from bionemo.llm.model.loss import BERTMLMLossWithReduction

        return BERTMLMLossWithReduction


ConfigT = TypeVar("ConfigT")


def merge_settings(own: ConfigT, stored: Any, *, keep: Sequence[str]) -> ConfigT:
    """Copy the values of one config to another.

    Args:
        own: A dataclass instance; its class and its fields in ``keep`` stay.
        stored: Another one; its values are taken for the fields that both have.
        keep: Names of fields that are not taken.

    Raises:
        ConfigError: The values taken do not fit those kept.
    """
    names = {field.name for field in dataclasses.fields(own) if field.init}  # type: ignore[arg-type]  # a dataclass
    common = {field.name for field in dataclasses.fields(stored)} & names - set(keep)
    return dataclasses.replace(own, **{name: getattr(stored, name) for name in common})  # type: ignore[type-var]


def override_mutate_possibly_extra_mutated_fiddle(target: Any, source: Any, names: Sequence[str]) -> Any:
    """Copy to ``target`` the named values of ``source``, where both have them.

    Returns:
        ``target`` itself, changed; if it is a frozen dataclass, a changed copy.
    """
    values = {name: getattr(source, name) for name in names if hasattr(source, name) and hasattr(target, name)}
    try:
        for name, value in values.items():
            setattr(target, name, value)
    except dataclasses.FrozenInstanceError:
        return dataclasses.replace(target, **values)
    return target
