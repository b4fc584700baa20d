# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What is written of each residue as one zarr store: ``residues.zarr``, arrays over all residues in input order.

``hidden_states`` [R, H] and ``token_logits`` [R, 33] float32, ``input_ids`` [R] uint8, and ``offsets`` [P + 1] int64:
residues of the protein on line p of the table are ``offsets[p]`` to ``offsets[p + 1]``. zarr 3 writes and reads it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo.core.optional_deps import require


ZARR_NAME = "residues.zarr"
EXTRA = "bionemo-esm2[zarr]"
CHUNK_BYTES = 4 * 2**20
"""Of an array, before compression: what reading one protein costs at least."""


def write_zarr(shards: Sequence[Path], lengths: NDArray[np.int64], folder: Path) -> None:
    """Write shards of residues as one zarr store, one shard in memory at a time.

    Args:
        shards: Safetensors files, in input order.
        lengths: [P] residues of each protein.
        folder: The store, a folder that does not exist.
    """
    from safetensors.numpy import load_file

    zarr: Any = require("zarr", extra=EXTRA)
    store = zarr.open_group(str(folder), mode="w-", zarr_format=3)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    store.create_array("offsets", data=offsets)
    first = 0
    for shard in shards:
        values = load_file(shard)
        stop = first + len(next(iter(values.values())))
        for name, part in sorted(values.items()):
            if first == 0:
                rows = max(1, CHUNK_BYTES // part[:1].nbytes)
                shape = (int(offsets[-1]), *part.shape[1:])
                chunks = (min(rows, shape[0]), *part.shape[1:])
                store.create_array(name, shape=shape, chunks=chunks, dtype=part.dtype)
            store[name][first:stop] = part
        first = stop


class ZarrResidues:
    """A store that :func:`write_zarr` wrote.

    Args:
        folder: The store.
    """

    def __init__(self, folder: Path) -> None:
        zarr: Any = require("zarr", extra=EXTRA)
        self._store = zarr.open_group(str(folder), mode="r")
        self._offsets = self._store["offsets"][:]
        self.names = sorted(name for name in self._store.array_keys() if name != "offsets")

    def read(self, name: str, place: int) -> NDArray[Any]:
        """Return the rows of the protein on a line of the table."""
        found: NDArray[Any] = self._store[name][int(self._offsets[place]) : int(self._offsets[place + 1])]
        return found
