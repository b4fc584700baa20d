# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Drawing rows with given probabilities, for example all cell types equally often."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bionemo.core.errors import ConfigError, DataError
from bionemo.core.randomness import Stream, rng_for
from bionemo.scdl.sampling.batch_sampler import GlobalBatchSampler, num_batches


if TYPE_CHECKING:
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


logger = logging.getLogger(__name__)


def obs_weights(
    dataset: "SingleCellMemMapDataset",
    column: str,
    weights: Mapping[Any, float] | None = None,
    *,
    missing: str = "leave out",
) -> np.ndarray:
    """Weight of each row by its value in a column of ``obs``.

    Args:
        dataset: The archive.
        column: Name of the column.
        weights: Value → weight of each of its rows; unless given, all values are drawn equally often in total.
        missing: Rows without a value: ``"leave out"`` gives them the weight 0 and logs their number, ``"error"``
            refuses them.

    Returns:
        [rows] float64.

    Raises:
        DataError: The column is absent from some rows, a value has no weight, all values are missing, or some are
            and ``missing`` is ``"error"``.
        ConfigError: Another choice for ``missing``.
    """
    if missing not in ("leave out", "error"):
        raise ConfigError(f"missing is {missing!r}; it must be 'leave out' or 'error'.")
    parts = []
    for block in dataset.obs_features()._feature_arr:
        if column not in block:
            raise DataError(f"{dataset.data_path}: some rows have no obs column {column!r}, but {sorted(block)}.")
        parts.append(np.asarray(block[column]).astype(object))
    values = np.concatenate(parts) if parts else np.empty(0, object)
    if values.size != len(dataset):
        raise DataError(f"{dataset.data_path}: {values.size} obs rows for {len(dataset)} cells.")
    import pandas as pd

    is_known = ~np.asarray(pd.isna(values))
    num_missing = values.size - int(np.count_nonzero(is_known))
    if num_missing and (missing == "error" or num_missing == values.size):
        raise DataError(
            f"{dataset.data_path}: {num_missing} of {values.size} cells have no value in the obs column {column!r}. "
            "Label them, or pass missing='leave out' to draw labelled cells only."
        )
    if num_missing:
        logger.warning(
            "%s: %d of %d cells have no value in the obs column %r and are never drawn",
            dataset.data_path,
            num_missing,
            values.size,
            column,
        )
    found = np.zeros(values.size, dtype=np.float64)
    names = [str(value) for value in values[is_known].tolist()]
    kinds, codes, counts = np.unique(np.array(names, dtype=object), return_inverse=True, return_counts=True)
    if weights is None:
        found[is_known] = (1.0 / counts)[codes]
        return found
    by_name = {str(value): float(weight) for value, weight in weights.items()}
    unknown = [kind for kind in kinds.tolist() if kind not in by_name]
    if unknown:
        raise DataError(f"No weight for the values {unknown[:5]} of obs column {column!r}. Give each value a weight.")
    found[is_known] = np.array([by_name[kind] for kind in kinds.tolist()], dtype=np.float64)[codes]
    return found


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
        """Number of batches in the schedule of an epoch, of all ranks together."""
        return num_batches(self.num_samples, self.batch_size, drop_last=False)

    def global_batch(self, epoch: int, position: int) -> np.ndarray:
        """Row numbers of one batch of the schedule, int64."""
        rng = rng_for(self.seed, Stream.SHUFFLE, epoch=epoch, index=position)
        drawn = rng.random(self.batch_size) * self._cumulative[-1]
        # Rounding may reach the total itself, one past the last row that can be drawn.
        return np.asarray(np.minimum(np.searchsorted(self._cumulative, drawn, side="right"), self._last))
