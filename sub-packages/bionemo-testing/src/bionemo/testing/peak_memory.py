# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""How much memory a process takes on its way, mapped pages of files included; from Linux's ``/proc``.

The start of a sharded model needs bionemo-llm.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bionemo.core.optional_deps import require


RESET_PATH = Path("/proc/self/clear_refs")


def can_measure() -> bool:
    """Return whether this system tells a process its peak."""
    return RESET_PATH.exists()


def peak_increase(fn: Callable[[], Any]) -> int:
    """Call a function, and return the peak of this process's resident memory above what it was before, in bytes.

    Args:
        fn: What it returns counts as long as it is not freed on the way.
    """
    before = _status_bytes("VmRSS")
    RESET_PATH.write_text("5")  # the peak counts from here
    fn()
    return _status_bytes("VmHWM") - before


def sharded_start(build: Callable[[], Any]) -> Any:
    """Start a model as a rank of a sharded run does, on a CPU.

    Args:
        build: Returns a ``DeferredModel`` of ``bionemo.llm.training.ranks.deferred_init``.

    Returns:
        The module, of which this rank holds its rows.
    """
    ranks = require("bionemo.llm.training.ranks.sharded_model", extra="bionemo-llm")
    import torch

    model = build()
    ranks.shard_model(model.module, ranks.build_mesh("cpu", torch.distributed.get_world_size(), None))
    ranks.materialize(model.module, model.weights, torch.device("cpu"))
    return model.module


def peak_of_sharded_start(build_small: Callable[[], Any], build: Callable[[], Any]) -> int:
    """Return the bytes by which a start raises this process's peak, after a small one, for torch's own allocations."""
    sharded_start(build_small)
    return peak_increase(lambda: sharded_start(build))


def assert_no_rank_held_the_whole_model(
    peaks: list[int], shape: Any, vocab_size: int, *, spare_bytes: int = 64 << 20
) -> None:
    """Fail unless each rank's peak is at most its share, two layers and what is spared, and that less than the model.

    Args:
        peaks: Bytes, one for each rank.
        shape: The ``BioBertConfig``; parameters are float32.
        vocab_size: Tokens of the vocabulary.
        spare_bytes: For everything else.
    """
    memory = require("bionemo.llm.training.ranks.memory", extra="bionemo-llm")
    whole, layer = 4 * memory.num_parameters(shape, vocab_size), 4 * memory.layer_parameters(shape)
    limit = whole / len(peaks) + 2 * layer + spare_bytes
    assert limit < whole
    assert max(peaks) <= limit, [f"{peak / 2**20:.0f} MiB of {limit / 2**20:.0f}" for peak in peaks]


def _status_bytes(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) << 10
