# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a fine-tuned ESM-2 predicts, as plain values that are saved beside the model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bionemo.core.errors import ConfigError


Level = Literal["sequence", "residue"]
TargetKind = Literal["regression", "classification", "multilabel"]
HeadKind = Literal["mlp", "cnn", "linear"]

LEVELS = ("sequence", "residue")
TARGET_KINDS = ("regression", "classification", "multilabel")
HEAD_KINDS: dict[str, tuple[str, ...]] = {"sequence": ("mlp", "linear"), "residue": ("cnn", "linear")}
"""Heads of each level, the default first."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One label column.

    Attributes:
        column: Its name.
        kind: "regression": a number; "classification": one of several classes; "multilabel": any number of classes.
        classes: Names in the order of the outputs; empty for a regression.
        mean, std: Of the training values of a regression: the head learns ``(value - mean) / std``.
    """

    column: str
    kind: TargetKind
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what describes no target.

        Raises:
            ConfigError: The kind is unknown, or the classes do not fit it.
        """
        if self.kind not in TARGET_KINDS:
            raise ConfigError(f"target {self.column}: kind {self.kind}, expected one of {', '.join(TARGET_KINDS)}.")
        if self.kind == "regression" and self.classes:
            raise ConfigError(f"target {self.column}: a regression has no classes.")
        if self.kind != "regression" and len(set(self.classes)) < (2 if self.kind == "classification" else 1):
            raise ConfigError(f"target {self.column}: found the classes {list(self.classes)}, expected at least two.")

    @property
    def num_outputs(self) -> int:
        """Outputs of the head for this target: classes, or one value."""
        return len(self.classes) or 1

    @property
    def num_values(self) -> int:
        """Numbers that label a sequence or residue: one for each class of a multi-label target, else one."""
        return len(self.classes) if self.kind == "multilabel" else 1


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """A head.

    Attributes:
        level: Whether a whole "sequence" or each "residue" has the label.
        targets: What is predicted; the head's outputs are theirs, one after the other.
        kind: "mlp": mean of the residues, linear layer, ReLU, dropout, linear layer; "cnn": two convolutions over 7
            residues with a ReLU and dropout in between (both as in BioNeMo 2); "linear": the heads of transformers'
            ``EsmForSequenceClassification`` (of the first token) and ``EsmForTokenClassification``.
        hidden_size: Of "mlp" and "cnn".
        dropout: In training.
    """

    level: Level
    targets: tuple[Target, ...]
    kind: HeadKind
    hidden_size: int = 256
    dropout: float = 0.25

    def __post_init__(self) -> None:
        """Refuse what describes no head.

        Raises:
            ConfigError: A name is unknown, two targets have one name, or there is none.
        """
        if self.level not in LEVELS or self.kind not in HEAD_KINDS[self.level]:
            raise ConfigError(
                f"head {self.kind} of a {self.level}: a sequence has mlp or linear, a residue cnn or linear."
            )
        names = [target.column for target in self.targets]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"a head needs label columns, each once; found {names}.")
        if self.level == "residue" and any(target.kind == "multilabel" for target in self.targets):
            raise ConfigError("several labels of one residue (multilabel): not supported. Give several columns.")

    @property
    def num_outputs(self) -> int:
        """Outputs of all targets."""
        return sum(target.num_outputs for target in self.targets)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for ``config.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HeadConfig":
        """Build a head from the values of :meth:`to_dict`.

        Raises:
            ConfigError: They describe no head.
        """
        try:
            targets = tuple(
                Target(**{**target, "classes": tuple(target.get("classes", ()))}) for target in values["targets"]
            )
            return cls(**{**values, "targets": targets})
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"not the values of a head ({type(error).__name__}: {error}).") from error
