# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Single-cell data loader: memory-mapped archives of sparse count matrices."""

from typing import TYPE_CHECKING

from bionemo.core.lazy import lazy_exports


if TYPE_CHECKING:
    from bionemo.scdl.io.single_cell_collection import SingleCellCollection
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
    from bionemo.scdl.sampling.block_shuffle import BlockShuffleSampler
    from bionemo.scdl.sampling.prefetch_loader import PrefetchLoader
    from bionemo.scdl.sampling.weighted import WeightedSampler


__all__ = (
    "BlockShuffleSampler",
    "PrefetchLoader",
    "SingleCellCollection",
    "SingleCellMemMapDataset",
    "WeightedSampler",
)

__getattr__ = lazy_exports(
    __name__,
    {
        "BlockShuffleSampler": "bionemo.scdl.sampling.block_shuffle",
        "PrefetchLoader": "bionemo.scdl.sampling.prefetch_loader",
        "SingleCellCollection": "bionemo.scdl.io.single_cell_collection",
        "SingleCellMemMapDataset": "bionemo.scdl.io.single_cell_memmap_dataset",
        "WeightedSampler": "bionemo.scdl.sampling.weighted",
    },
)
