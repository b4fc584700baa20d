# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Watch what a run's steps return and what it logs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bionemo.core.optional_deps import require


if TYPE_CHECKING:
    import lightning.pytorch as pl
else:
    pl = require("lightning.pytorch", extra="bionemo-testing[lightning]")

UNNAMED = "unnamed"
LOGGED = "logged_metrics"


class MetricTracker(pl.Callback):
    """Collects metrics of every batch.

    Args:
        metrics_to_track_val: Keys of what ``validation_step`` returns.
        metrics_to_track_train: Keys of what ``training_step`` returns. A bare tensor is kept under ``"unnamed"``.
    """

    def __init__(self, metrics_to_track_val: list[str], metrics_to_track_train: list[str]) -> None:
        self.metrics_to_track_val = metrics_to_track_val
        self.metrics_to_track_train = metrics_to_track_train
        self._val: dict[str, list[Any]] = {name: [] for name in metrics_to_track_val}
        self._train: dict[str, list[Any]] = {name: [] for name in metrics_to_track_train}
        self._logged: dict[str, set[str]] = {"val": set(), "train": set()}

    @property
    def collection_val(self) -> dict[str, Any]:
        """Metric to a tensor of one value per validation batch; ``"logged_metrics"``: names logged until then."""
        return {**_stacked(self._val), LOGGED: sorted(self._logged["val"])}

    @property
    def collection_train(self) -> dict[str, Any]:
        """Metric to a tensor of one value per training batch; ``"logged_metrics"``: names logged until then."""
        return {**_stacked(self._train), LOGGED: sorted(self._logged["train"])}

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Take the batch's values."""
        if not trainer.sanity_checking:
            _collect(self._val, self.metrics_to_track_val, outputs)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take the batch's values."""
        _collect(self._train, self.metrics_to_track_train, outputs)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the names that were logged."""
        if not trainer.sanity_checking:
            self._logged["val"].update(trainer.logged_metrics)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the names that were logged."""
        self._logged["train"].update(trainer.logged_metrics)


def _collect(collection: dict[str, list[Any]], names: list[str], outputs: Any) -> None:
    import torch

    if isinstance(outputs, torch.Tensor):
        outputs = {UNNAMED: outputs}
    if isinstance(outputs, Mapping):
        for name in [*names, *([UNNAMED] if UNNAMED in outputs else [])]:
            if name in outputs:
                collection.setdefault(name, []).append(torch.as_tensor(outputs[name]).detach().cpu())


def _stacked(collection: Mapping[str, list[Any]]) -> dict[str, Any]:
    import torch

    return {name: torch.stack(values) if values else torch.empty(0) for name, values in collection.items()}
