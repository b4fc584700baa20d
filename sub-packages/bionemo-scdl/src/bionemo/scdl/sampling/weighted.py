# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Drawing rows with given probabilities, for example all cell types equally often."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bionemo.core.errors import ConfigError, DataError
from bionemo.core.randomness import Stream, rng_for
from bionemo.scdl.sampling.batch_sampler import GlobalBatchSampler, num_batches


if TYPE_CHECKING:
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


def obs_weights(
    dataset: "SingleCellMemMapDataset", column: str, weights: Mapping[Any, float] | None = None
) -> np.ndarray:
    """Weight of each row by its value in a column of ``obs``.

    Args:
        dataset: The archive.
        column: Name of the column.
        weights: Value → weight of each of its rows; unless given, all values are drawn equally often in total.

    Returns:
        [rows] float64.

    Raises:
        DataError: The column is absent from some rows, or a value has no weight.
    """
    parts = []
    for block in dataset.obs_features()._feature_arr:
        if column not in block:
            raise DataError(f"{dataset.data_path}: some rows have no obs column {column!r}, but {sorted(block)}.")
        parts.append(np.asarray(block[column]).astype(object))
    values = np.concatenate(parts) if parts else np.empty(0, object)
    if values.size != len(dataset):
        raise DataError(f"{dataset.data_path}: {values.size} obs rows for {len(dataset)} cells.")
    names = [str(value) for value in values.tolist()]
    kinds, codes, counts = np.unique(np.array(names, dtype=object), return_inverse=True, return_counts=True)
    if weights is None:
        return np.asarray((1.0 / counts)[codes])
    by_name = {str(value): float(weight) for value, weight in weights.items()}
    unknown = [kind for kind in kinds.tolist() if kind not in by_name]
    if unknown:
        raise DataError(f"No weight for the values {unknown[:5]} of obs column {column!r}. Give each value a weight.")
    return np.array([by_name[kind] for kind in kinds.tolist()], dtype=np.float64)[codes]


class WeightedSampler(GlobalBatchSampler):
    """Draws rows with replacement, with probabilities proportional to their weights."""

    def __init__(
        self, weights: np.ndarray, *, batch_size: int, num_samples: int | None = None, **options: Any
    ) -> None:
        """Plan draws.

        Args:
            weights: [rows] finite, none negative, not all zero; :func:`obs_weights` makes them from a column.
            batch_size: Rows per batch and rank.
            num_samples: Rows drawn in an epoch; as many as there are rows unless given. Rounded up to whole batches.
            **options: ``seed``, ``rank``, ``world_size``, ``drop_uneven``, ``endless`` of the base class.
        """
        super().__init__(batch_size=batch_size, **options)
        weights = np.asarray(weights, dtype=np.float64)
        if weights.ndim != 1 or not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0:
            raise ConfigError("weights must be one finite number of 0 or more for each row, and not all zero.")
        self.num_samples = len(weights) if num_samples is None else num_samples
        self._cumulative = np.cumsum(weights)
        self._last = int(np.flatnonzero(weights)[-1])

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in the plan of an epoch, of all ranks together."""
        return num_batches(self.num_samples, self.batch_size, drop_last=False)

    def global_batch(self, epoch: int, position: int) -> np.ndarray:
        """Row numbers of one batch of the plan, int64."""
        rng = rng_for(self.seed, Stream.SHUFFLE, epoch=epoch, index=position)
        drawn = rng.random(self.batch_size) * self._cumulative[-1]
        # Rounding may reach the total itself, one past the last row that can be drawn.
        return np.asarray(np.minimum(np.searchsorted(self._cumulative, drawn, side="right"), self._last))
