# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Where a run resumes, which settings it must share with what it was, and what may change: its length and its rate."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from bionemo.core.errors import CheckpointError, ConfigError
from bionemo.llm.checkpoints.hf_directory import verify_checksums
from bionemo.llm.checkpoints.training_state import TrainingState
from bionemo.llm.training.config import flag, is_given
from bionemo.llm.training.engine import Engine
from bionemo.llm.training.optimizer import build_schedule_of_one
from bionemo.llm.training.resolve import ResolvedRun
from bionemo.llm.training.run_directory import RunDirectory, run_id_of
from bionemo.llm.training.task import Datasets, PretrainTask


logger = logging.getLogger(__name__)

FINGERPRINT_FIELDS = (
    "seed",
    "mask_prob",
    "mask_token_prob",
    "random_token_prob",
    "weight_decay",
    "accumulate_grad_batches",
)
"""Settings of every command that a resumed run must share."""


@dataclass(frozen=True)
class ResumePoint:
    """A checkpoint and its training state."""

    checkpoint: Path
    state: TrainingState


class ResumeSettings(Protocol):
    """Flags that say whether, and from where, a run is resumed."""

    @property
    def resume_from(self) -> Path | None:
        """A checkpoint of the run."""

    @property
    def resume_if_exists(self) -> bool:
        """Whether to resume from the newest one."""


def find_resume_point(
    config: ResumeSettings, run: RunDirectory, read_state: Callable[[Path], TrainingState]
) -> ResumePoint | None:
    """Find and read the checkpoint that a run resumes from: ``--resume-from``, else the newest; None for a new run.

    Args:
        config: Settings of the command.
        run: Its folder.
        read_state: Reads how far the run of a checkpoint had come.

    Raises:
        CheckpointError: It is damaged, or of another run; the message names a whole one.
    """
    checkpoint = config.resume_from
    if checkpoint is None and config.resume_if_exists:
        checkpoint = run.latest_checkpoint()
        if checkpoint is None and (run.config_path.exists() or run.metrics_path.exists()):
            logger.warning("%s: --resume-if-exists found no checkpoint there; starting at step 0", run.path)
    if checkpoint is None:
        return None
    try:
        for path in {*run.checkpoints(), checkpoint}:
            check_origin(path, run)
        verify_checksums(checkpoint)
        return ResumePoint(checkpoint, read_state(checkpoint))
    except CheckpointError as error:
        whole = next((path for path in reversed(run.checkpoints()) if path != checkpoint and is_whole(path)), None)
        if whole is None or config.resume_from is not None:
            raise
        raise CheckpointError(f"{error} {whole.name} is whole: resume with --resume-from {whole}") from error


def check_origin(checkpoint: Path, run: RunDirectory) -> None:
    """Refuse a folder with a checkpoint that another run has written.

    Raises:
        CheckpointError: Its run id is another one than the run's.
    """
    run_id, own = run_id_of(checkpoint), run.run_id()
    if run_id is None:
        logger.warning("%s: carries no run id, as version 3.0 wrote it; taken for one of this run", checkpoint)
    elif own is not None and run_id != own:
        raise CheckpointError(
            f"{checkpoint}: was written by another run ({run_id}), {run.path} is run {own}. Remove it, or start a new "
            "run from it with --restore-from-checkpoint-path."
        )


def is_whole(checkpoint: Path) -> bool:
    """Return whether a checkpoint's files are those that were written."""
    try:
        verify_checksums(checkpoint)
    except CheckpointError:
        return False
    return True


def run_fingerprint(resolved: ResolvedRun, task: PretrainTask, engine: Engine, datasets: Datasets) -> dict[str, Any]:
    """Return the resume-compatible settings: those that a resumed run must share."""
    config = resolved.asked
    _, num_shares = engine.data_share(0, resolved.num_ranks)
    return {
        **{name: getattr(config, name) for name in FINGERPRINT_FIELDS},
        **task.fingerprint,
        "tokens_per_batch": resolved.max_tokens if config.pack else None,
        "micro_batch_size": resolved.sequences_per_batch,
        "packs_per_step": config.accumulate_grad_batches * num_shares,
        "num_sequences": len(datasets.train),
        "unigram_loss": datasets.unigram_loss,
    }


def compared(fingerprint: Mapping[str, Any], state: TrainingState) -> dict[str, Any]:
    """Choose the settings that a resumed run is held to.

    Other ranks may make a step of the same packed batches, or of as many packs each: one of the two numbers has to
        agree.
    """
    same_steps = state.fingerprint.get("packs_per_step") == fingerprint["packs_per_step"]
    ignored = {"packs_per_step", "accumulate_grad_batches"} if same_steps else {"packs_per_step"}
    return {name: value for name, value in fingerprint.items() if name not in ignored}


def plan_schedule(resolved: ResolvedRun, task: PretrainTask, state: TrainingState) -> TrainingState:
    """Keep the run's learning-rate schedule, except for what flags ask to change from here on.

    Args:
        resolved: Settings of the resumed run.
        task: Its optimizer is what the flags describe; ``schedule_flags`` says which flag sets which part.
        state: Of the checkpoint.

    Returns:
        The state with the schedule that the resumed run follows.

    Raises:
        ConfigError: The changed parts do not fit together.
    """
    config, step = resolved.asked, state.progress.step
    wanted = build_schedule_of_one(task.optimizer).state_dict()
    schedule = dict(state.schedule)
    for name, parts in task.schedule_flags.items():
        if not is_given(config, name) or all(schedule.get(part) == wanted[part] for part in parts):
            continue
        logger.warning(
            "%s %s: replaces the schedule's %s from step %d on", flag(name), getattr(config, name),
            ", ".join(f"{part} {schedule.get(part)}" for part in parts), step,
        )  # fmt: skip
        schedule |= {part: wanted[part] for part in parts}
    groups = state.groups
    if schedule != state.schedule:
        if schedule["warmup_steps"] > schedule["max_steps"]:
            raise ConfigError(
                f"--warmup-steps {schedule['warmup_steps']} exceeds the schedule's {schedule['max_steps']} steps."
            )
        rate = build_schedule_of_one(task.optimizer)
        rate.load_state_dict(schedule)
        (lr,) = rate.get_lr()
        schedule["_last_lr"] = [float(lr)] * len(schedule["_last_lr"])
        groups = [{**group, "lr": float(lr)} for group in groups]
    if resolved.max_steps > schedule["max_steps"]:
        rate = build_schedule_of_one(task.optimizer)
        rate.load_state_dict({**schedule, "last_epoch": resolved.max_steps - 1})
        logger.warning(
            "steps %d to %d lie beyond the schedule's %d steps: they have learning rate %g. "
            "--scheduler-num-steps plans the schedule anew.",
            max(step, schedule["max_steps"]) + 1, resolved.max_steps, schedule["max_steps"], float(rate.get_lr()[0]),
        )  # fmt: skip
    return replace(state, schedule=schedule, groups=groups)


def warn_about_changes(resolved: ResolvedRun, state: TrainingState) -> None:
    """Log what makes a resumed run differ from an uninterrupted one."""
    if state.precision is not None and state.precision != resolved.precision:
        logger.warning("the run was trained in %s, from here on in %s", state.precision, resolved.precision)
    if state.num_threads != torch.get_num_threads():
        logger.warning(
            "the run had %d threads, this one has %d: on a CPU the last bits may differ",
            state.num_threads,
            torch.get_num_threads(),
        )
