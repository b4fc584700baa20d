# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``training_state/`` of a checkpoint: everything an exact resume needs, as safetensors and JSON.

``optimizer.safetensors`` holds one tensor per parameter and moment, named ``<moment>.<parameter>``;
``state.json`` the progress, the schedule and what the run must agree on to be continued.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from bionemo.core.data.size_aware_batching import PlanPosition
from bionemo.core.errors import CheckpointError, ConfigError
from bionemo.core.files import write_json
from bionemo.llm.checkpoints.hf_directory import write_tensors
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors
from bionemo.llm.checkpoints.shards import SHARDS_DIR, ShardReader, moments_in
from bionemo.llm.checkpoints.weight_files import MappedFiles, SafetensorsFile
from bionemo.llm.training.optimizer import parameters_in_order
from bionemo.llm.training.ranks.sharded_model import like, own_rows
from bionemo.llm.training.run_directory import STATE_DIR


FORMAT_VERSION = 1
OPTIMIZER_FILE = "optimizer.safetensors"


@dataclass
class Progress:
    """How far a run has come, over all ranks.

    Attributes:
        step: Optimizer steps done.
        window, pack: Position in the global schedule of packed batches: the first pack not consumed.
        consumed_samples: Packs.
        consumed_sequences: Sequences.
        consumed_tokens: Tokens that belong to sequences.
    """

    step: int = 0
    window: int = 0
    pack: int = 0
    consumed_samples: int = 0
    consumed_sequences: int = 0
    consumed_tokens: int = 0

    @property
    def position(self) -> PlanPosition:
        """Where the global pack schedule continues, in packed batches."""
        return PlanPosition(self.window, self.pack)


@dataclass(frozen=True)
class TrainingState:
    """What was read from a checkpoint.

    Attributes:
        progress: How far the run had come.
        fingerprint: Settings that a continued run must share (seed, token budget, data ...).
        optimizer: Tensors of the optimizer by ``<moment>.<parameter>``, read when they are asked for.
        groups: The optimizer's groups without their parameters.
        schedule: State of the learning-rate schedule.
        num_threads: Threads of the run that wrote it; on a CPU another number changes the last bits.
        precision: Lightning's name of the run's precision; None where version 3.0 wrote it.
        engine: Training engine that wrote it; the megatron engine may have padded the vocabulary further.
    """

    progress: Progress
    fingerprint: dict[str, Any]
    optimizer: Mapping[str, Tensor]
    groups: list[dict[str, Any]]
    schedule: dict[str, Any]
    num_threads: int
    precision: str | None = None
    engine: str = "lightning"


def write_training_state(
    directory: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    progress: Progress,
    fingerprint: Mapping[str, Any],
    **extra: Any,
) -> None:
    """Write ``training_state/`` into a checkpoint directory that is not visible yet.

    Args:
        directory: The unfinished checkpoint.
        module: The model whose parameters the optimizer steps.
        optimizer: Its state is written.
        schedule: Its state is written.
        progress: How far the run has come.
        fingerprint: Settings that a continued run must share; plain values.
        extra: Further plain values for the record.
    """
    state = optimizer.state_dict()
    names = list(parameters_in_order(module, optimizer))
    tensors = {
        f"{moment}.{names[idx]}": value for idx, moments in state["state"].items() for moment, value in moments.items()
    }
    groups = [{key: value for key, value in group.items() if key != "params"} for group in state["param_groups"]]
    write_state_file(directory, progress=progress, fingerprint=fingerprint, groups=groups, schedule=schedule, **extra)
    write_tensors(directory / STATE_DIR / OPTIMIZER_FILE, tensors)


def write_state_file(
    directory: Path,
    *,
    progress: Progress,
    fingerprint: Mapping[str, Any],
    groups: list[dict[str, Any]],
    schedule: torch.optim.lr_scheduler.LRScheduler,
    **extra: Any,
) -> None:
    """Write ``training_state/state.json``: everything of a training state that is not a tensor."""
    (directory / STATE_DIR).mkdir()
    write_json(
        directory / STATE_DIR / "state.json",
        {
            "format": FORMAT_VERSION,
            "progress": asdict(progress),
            "agreement": dict(fingerprint),
            "groups": groups,
            "schedule": schedule.state_dict(),
            "num_threads": torch.get_num_threads(),
            **extra,
        },
    )


def read_training_state(directory: Path) -> TrainingState:
    """Read ``training_state/`` of either training engine, whatever the number of its ranks; nothing is unpickled.

    Args:
        directory: The checkpoint.

    Raises:
        CheckpointError: It is missing, damaged or of another format.
    """
    folder = directory / STATE_DIR
    if not folder.is_dir():
        raise CheckpointError(
            f"{directory}: has no {STATE_DIR}/, so training cannot go on from it; it is a model only."
        )
    values = read_json(folder / "state.json")
    if values.get("format") != FORMAT_VERSION:
        raise CheckpointError(f"{folder / 'state.json'}: format {values.get('format')}, expected {FORMAT_VERSION}.")
    try:
        progress = Progress(**values["progress"])
        return TrainingState(
            progress=progress,
            fingerprint=values["agreement"],
            optimizer=open_optimizer(directory, progress.step),
            groups=values["groups"],
            schedule=values["schedule"],
            num_threads=values["num_threads"],
            precision=values.get("precision"),
            engine=values.get("engine", "lightning"),
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / 'state.json'}: not a complete training state ({error}).") from error


def open_optimizer(directory: Path, step: int) -> LazyTensors:
    """Open the optimizer's tensors of a checkpoint: in one file, or in the shards of its ranks.

    Args:
        directory: The checkpoint.
        step: Optimizer steps done.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    for shards in (directory / STATE_DIR / SHARDS_DIR, directory / SHARDS_DIR):
        if shards.is_dir():
            return moments_in(ShardReader(shards), step)
    return MappedFiles(SafetensorsFile).lazy_tensors(directory / STATE_DIR / OPTIMIZER_FILE)


def restore_optimizer(
    state: TrainingState,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    """Put optimizer and schedule where the checkpoint had them.

    Raises:
        CheckpointError: The saved moments are not those of this model's parameters.
    """
    parameters = parameters_in_order(module, optimizer)
    own = optimizer.state_dict()
    moments: dict[int, dict[str, Tensor]] = {}
    ids = {name: idx for idx, name in enumerate(parameters)}
    lazy = LazyTensors.of(state.optimizer)
    for key in lazy:
        moment, _, name = key.partition(".")
        if name not in ids or not _fits(lazy.shape(key), parameters[name], padded=state.engine == "megatron"):
            raise CheckpointError(f"optimizer.safetensors: {key} {lazy.shape(key)} fits no parameter of the model.")
        moments.setdefault(ids[name], {})[moment] = _own_part(lazy, key, parameters[name])
    if state.progress.step and len(moments) != len(parameters):
        raise CheckpointError(
            f"optimizer.safetensors: moments of {len(moments)} parameters, the model has {len(parameters)}."
        )
    saved_groups = state.groups
    if state.engine == "megatron":  # one group for each of its optimizers' kinds of parameters
        by_decay = sorted(state.groups, key=lambda group: -group["weight_decay"])
        saved_groups = [by_decay[0], by_decay[-1]]
    groups = [
        {**group, **saved, "params": group["params"]}
        for saved, group in zip(saved_groups, own["param_groups"], strict=True)
    ]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    schedule.load_state_dict(state.schedule)


def _fits(stored: tuple[int, ...], parameter: Tensor, *, padded: bool) -> bool:
    """Whether a stored tensor is of a parameter: of its shape, of another padding of the vocabulary, or a scalar."""
    shape = tuple(parameter.shape)
    return stored in ((), shape) or (padded and stored[1:] == shape[1:])


def _own_part(tensors: LazyTensors, key: str, parameter: Tensor) -> Tensor:
    """Read what belongs to the part of a parameter that this rank has."""
    stored, shape = tensors.shape(key), tuple(parameter.shape)
    if isinstance(parameter, DTensor) and stored:
        return like(parameter, tensors.rows(key, *own_rows(parameter)).clone())
    return (tensors[key] if stored in ((), shape) else tensors.rows(key, 0, shape[0])).clone()  # not the mapped file


def check_fingerprint(state: TrainingState, fingerprint: Mapping[str, Any], source: Path) -> None:
    """Refuse to continue a run with settings that would make it another one.

    Raises:
        ConfigError: A setting differs; the message names it.
    """
    for name, value in fingerprint.items():
        if name in state.fingerprint and state.fingerprint[name] != value:
            raise ConfigError(
                f"{source}: was trained with {name} = {state.fingerprint[name]}, this run has {value}. "
                "A continued run keeps it; for other settings start a new run with --restore-from-checkpoint-path."
            )
