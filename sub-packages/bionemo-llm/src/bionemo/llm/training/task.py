# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a model family brings to a pretraining run: its data, architecture, optimizer and checkpoint layout."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bionemo.llm.checkpoints.hf_directory import HuggingFaceLayout
from bionemo.llm.data.packed_dataset import PackedDataset
from bionemo.llm.lightning import ForwardStep, LossFunction
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.model import ModelTokenizer
from bionemo.llm.training.loss_plot import RESIDUE_FREQUENCIES_LABEL
from bionemo.llm.training.optimizer import OptimizerConfig
from bionemo.llm.training.run_directory import RunDirectory


class Datasets(NamedTuple):
    """The sequences of a run: packed training and validation data; the last with every selected token masked."""

    train: PackedDataset
    valid: PackedDataset
    valid_masked: PackedDataset
    unigram_loss: float
    """Unigram cross-entropy of the validation tokens, nats/token: what can be predicted without a model."""


class Objective(NamedTuple):
    """What is learned beside masked tokens, or instead of them."""

    forward_step: ForwardStep
    loss_function: LossFunction


@dataclass(frozen=True, kw_only=True)
class PretrainTask:
    """What a model family brings to a run.

    Attributes:
        name: Of the model, for the log.
        reference_label: What the picture calls the cross-entropy under the unigram baseline.
        model_config: Architecture that the flags describe.
        vocabulary: Its size and special ids.
        layout: How checkpoints are named and which files go with them.
        optimizer: Its constants and its schedule.
        build_datasets: Opens the data of a run.
        fingerprint: Settings of the model family that a resumed run must share, by name.
        schedule_flags: Fields of the configuration that set parts of the schedule's state, and these parts.
        opening: Line of Python that opens a checkpoint of the lightning engine; ``{path}`` stands for its folder.
        architecture_given: Whether flags describe the architecture; otherwise a resumed run takes the checkpoint's.
        start_from: Checkpoint that gives a new run its architecture and weights, or None.
        tags: Tags of the model card.
        objective: None for the masked tokens alone; others are for the lightning engine without compilation.
    """

    name: str
    model_config: BioBertConfig
    vocabulary: ModelTokenizer
    layout: HuggingFaceLayout[Any]
    optimizer: OptimizerConfig
    build_datasets: Callable[[RunDirectory], Datasets]
    fingerprint: Mapping[str, Any]
    schedule_flags: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"lr": ("max_lr", "min_lr")})
    opening: str = "bionemo.llm.checkpoints.hf_directory.read_weights('{path}')"
    architecture_given: bool = True
    start_from: Path | None = None
    objective: Objective | None = None
    reference_label: str = RESIDUE_FREQUENCIES_LABEL
    tags: tuple[str, ...] = ()
