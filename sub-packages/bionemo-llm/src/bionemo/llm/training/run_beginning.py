# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The moment a run begins, after its first optimizer step: a start that fails before has written nothing."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl

from bionemo.core.config import to_yaml
from bionemo.core.files import write_text
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.training.optimizer import OptimizerConfig
from bionemo.llm.training.ranks.restarts import leave_job
from bionemo.llm.training.resolve import ResolvedRun
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.stop_requests import StopRequests


RECORDED_PACKAGES = ("bionemo-llm", "torch", "lightning", "megatron-core")


class RunRecord(Protocol):
    """What is written when a run begins."""

    @property
    def run_id(self) -> str:
        """Carried by every checkpoint of the run."""

    @property
    def asked(self) -> Any:
        """Settings of the command, for ``config.yaml``."""

    def to_yaml(self) -> str:
        """Return ``resolved.yaml``; its first line is ``run_id: ...``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """What ``resolved.yaml`` records of a run: its id, and everything that was derived from ``config.yaml``.

    Attributes:
        run_id: Carried by every checkpoint of the run.
        resolved: Settings of the run.
        optimizer: As the settings describe it.
        architecture: Of the model that is trained, whether flags or a checkpoint described it.
    """

    run_id: str
    resolved: ResolvedRun
    optimizer: OptimizerConfig
    architecture: BioBertConfig

    @property
    def asked(self) -> Any:
        """Settings of the command."""
        return self.resolved.asked

    def to_yaml(self) -> str:
        """Return the record as YAML; the first line is the run's id."""
        derived = {name: value for name, value in vars(self.resolved).items() if name not in ("asked", "parallel")}
        return f"run_id: {self.run_id}\n" + to_yaml(
            DerivedSettings(
                derived=derived,
                parallel=dataclasses.asdict(self.resolved.parallel),
                optimizer=dataclasses.asdict(self.optimizer),
                architecture=plain_fields(self.architecture),
                versions={name: found for name in RECORDED_PACKAGES if (found := installed_version(name))},
            )
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTuningIdentity:
    """What ``resolved.yaml`` records of a fine-tuning run; see ``RunRecord``.

    Attributes:
        run_id: Carried by every checkpoint of the run.
        asked: Settings of the command.
        derived: What followed from them on this machine, and the head; plain values.
        optimizer: AdamW and its schedule.
        architecture: Of the encoder.
        package: Of the model family.
    """

    run_id: str
    asked: Any
    derived: Mapping[str, Any]
    optimizer: OptimizerConfig
    architecture: BioBertConfig
    package: str

    def to_yaml(self) -> str:
        """Return the record as YAML; the first line is the run's id."""
        packages = (self.package, "bionemo-llm", "torch", "lightning", "torchmetrics")
        return f"run_id: {self.run_id}\n" + to_yaml(
            DerivedSettings(
                derived=json.loads(json.dumps(self.derived)),
                parallel={},
                optimizer=dataclasses.asdict(self.optimizer),
                architecture=plain_fields(self.architecture),
                versions={name: found for name in packages if (found := installed_version(name))},
            )
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DerivedSettings:
    """Sections of ``resolved.yaml``."""

    derived: Mapping[str, Any]
    parallel: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    architecture: Mapping[str, Any]
    versions: Mapping[str, str]


class RunBeginning(pl.Callback):
    """Writes ``config.yaml``, ``resolved.yaml`` and the log once the first optimizer step is done.

    Args:
        run: Where to.
        record: What to write.
        start_step: Optimizer steps done before, in a resumed run.
        stops: Told, before anything is written, that a signal finds something to save.
        begin_log: Opens the log.
    """

    def __init__(
        self,
        run: RunDirectory,
        record: RunRecord,
        start_step: int,
        stops: StopRequests,
        begin_log: Callable[[], None] = lambda: None,
    ) -> None:
        self.run, self.record, self.start_step, self.stops = run, record, start_step, stops
        self._begin_log = begin_log
        self._has_begun = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Begin after the first step."""
        if self._has_begun or trainer.fit_loop._should_accumulate():
            return
        self._has_begun = self.stops.has_work = True
        if trainer.is_global_zero:
            if self.start_step == 0:
                keep_old_file(self.run.metrics_path)
            self.run.set_aside_after(self.start_step)
            leave_job(self.run)
            write_text(self.run.resolved_path, self.record.to_yaml())
            write_text(self.run.config_path, to_yaml(self.record.asked))
        self._begin_log()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the log of a resumed run that had no step left."""
        self._begin_log()


def keep_old_file(path: Path) -> None:
    """Rename what an earlier run has left: ``metrics.csv`` becomes ``metrics.old-1.csv``."""
    if not path.exists():
        return
    number = 1
    while (kept := path.with_name(f"{path.stem}.old-{number}{path.suffix}")).exists():
        number += 1
    path.rename(kept)


def plain_fields(config: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that are numbers, strings or None."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {
        name: value for name, value in values.items() if value is None or isinstance(value, bool | int | float | str)
    }


def installed_version(package: str) -> str | None:
    """Return the version of a package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
