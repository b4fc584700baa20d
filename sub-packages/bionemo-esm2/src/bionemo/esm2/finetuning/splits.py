# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Which proteins are trained on and which are held out: at random, by clusters, or as a column says; once or in folds.

Letters: P proteins.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError, DataError
from bionemo.core.randomness import Stream, rng_for
from bionemo.esm2.data.clusters import iter_cluster_table
from bionemo.llm.data.splits import stratified_folds


logger = logging.getLogger(__name__)

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "eval"), "valid"),
    **dict.fromkeys(("test",), "test"),
}
"""What a split column may say, upper or lower case."""


class Split(NamedTuple):
    """Numbers of proteins, each ascending."""

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    """What early stopping and the choice of the best model see."""
    test: NDArray[np.int64]
    """What is only predicted at the end; without test proteins the validation ones are."""

    @property
    def held_out(self) -> NDArray[np.int64]:
        """Proteins whose predictions are scored."""
        return self.test if len(self.test) else self.valid


def split_by_column(cells: Sequence[str], source: str) -> Split:
    """Split as a column says: train, valid (validation, val, dev) or test; other rows take no part.

    Raises:
        DataError: Nothing is to be trained on, or nothing is held out.

    >>> [part.tolist() for part in split_by_column(["train", "test", "train", "valid"], "x.csv")]
    [[0, 2], [3], [1]]
    """
    names = np.array([SPLIT_NAMES.get(cell.strip().lower(), "") for cell in cells])
    parts = [np.flatnonzero(names == name) for name in ("train", "valid", "test")]
    if not len(parts[0]) or not (len(parts[1]) + len(parts[2])):
        found = ", ".join(sorted(set(cells))[:6])
        raise DataError(
            f"{source}: says {found}; expected rows of train and of valid or test. For fold numbers give --folds."
        )
    if not len(parts[1]):
        logger.warning(
            "%s: has no valid rows; the test rows choose the best epoch. Give --keep last to avoid it", source
        )
        parts[1], parts[2] = parts[2], parts[2][:0]
    return Split(*parts)


def folds_by_column(cells: Sequence[str], num_folds: int, source: str) -> NDArray[np.int64]:
    """Return the fold of each protein from a column of fold names, sorted as numbers where they are; [P] int64.

    Raises:
        DataError: The column has another number of folds.
    """
    names = sorted(set(cells), key=lambda name: (float(name) if name.lstrip("-").isdigit() else np.inf, name))
    if len(names) != num_folds:
        raise DataError(f"{source}: holds {len(names)} folds ({', '.join(names[:8])}), --folds says {num_folds}.")
    number = {name: fold for fold, name in enumerate(names)}
    return np.array([number[cell] for cell in cells], dtype=np.int64)


def clusters_from_file(path: Path, ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the cluster of each protein from a table of representatives and members; [P] int64.

    Raises:
        DataError: A protein is in no cluster.
    """
    cluster_of: dict[str, str] = {}
    for representatives, members in iter_cluster_table(path):
        cluster_of.update(zip(members, representatives, strict=True))
    missing = [name for name in ids if name not in cluster_of]
    if missing:
        raise DataError(f"{path}: {missing[0]!r} is in no cluster, and {len(missing) - 1} further ids.")
    _, numbers = np.unique([cluster_of[name] for name in ids], return_inverse=True)
    return numbers.astype(np.int64)


def grouped_folds(groups: NDArray[np.int64], num_folds: int, seed: int) -> NDArray[np.int64]:
    """Deal whole groups to folds of nearly equal size, large groups first, equal ones in random order.

    Args:
        groups: [P] int64, group of each.
        num_folds: Folds, at least 2.
        seed: Equal seeds give equal folds.

    Returns:
        [P] int64, fold of each.

    Raises:
        ConfigError: There are fewer groups than folds.

    >>> grouped_folds(np.array([0, 0, 1, 2]), 2, seed=0).tolist()[:2] in ([0, 0], [1, 1])
    True
    """
    names, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < num_folds:
        raise ConfigError(f"{num_folds} folds of {len(names)} clusters: give fewer --folds, or another --split.")
    order = rng_for(seed, Stream.SPLIT).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of, filled = np.empty(len(names), np.int64), np.zeros(num_folds, np.int64)
    for group in order.tolist():
        fold = int(filled.argmin())
        fold_of[group] = fold
        filled[fold] += sizes[group]
    return fold_of[number]


def random_folds(num_proteins: int, num_folds: int, seed: int, classes: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Deal proteins to folds at random, every class evenly where there are classes.

    Args:
        num_proteins: P.
        num_folds: Folds, at least 2.
        seed: Equal seeds give equal folds.
        classes: [P] int64 or None.

    Returns:
        [P] int64, fold of each.
    """
    return stratified_folds(np.zeros(num_proteins, np.int64) if classes is None else classes, num_folds, seed)


def held_out_group_split(groups: NDArray[np.int64], fractions: Sequence[float], seed: int) -> list[NDArray[np.int64]]:
    """Split whole groups off in random order until each part has its share.

    Args:
        groups: [P] int64, group of each.
        fractions: Shares of the proteins, their sum below 1; a group that would overfill a part is passed over.
        seed: Equal seeds give equal splits.

    Returns:
        For each share the numbers of its proteins, then the rest's; ascending.

    Raises:
        ConfigError: A part with a share above 0, or the rest, would be empty.
    """
    names, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    part_of = np.full(len(names), len(fractions))
    order = rng_for(seed, Stream.SPLIT).permutation(len(names)).tolist()
    for part, fraction in enumerate(fractions):
        room = round(fraction * len(groups))
        for group in order:
            if part_of[group] == len(fractions) and sizes[group] <= room:
                part_of[group] = part
                room -= int(sizes[group])
    parts = [np.flatnonzero(part_of[number] == part) for part in range(len(fractions) + 1)]
    for found, share in zip(parts, (*fractions, 1.0), strict=True):
        if share > 0 and len(found) == 0:
            raise ConfigError(
                f"{len(groups)} proteins in {len(names)} clusters, the largest of {sizes.max()}: no split of "
                f"{', '.join(f'{f:g}' for f in fractions)} is possible. Give another fraction or another --split."
            )
    return parts
