# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Compare the gradients of one step between parallel layouts, by Adam's first moments in their sharded checkpoints.

``python -m bionemo.testing.assert_optimizer_grads_match DIR DIR ...`` does it for checkpoints of the megatron engine.
After one step the first moment is the gradient up to one factor, exactly the gradient with beta1 = 0.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from bionemo.core.command import run_command
from bionemo.core.errors import ConfigError
from bionemo.core.optional_deps import require


MOMENT = "exp_avg"
LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
FACTOR, GROWTH, NUM_LAYERS = 4.0, 1.03, 32
"""k, C and L of the bound: rounding grows by C a layer, backwards from the last of L."""

EPSILONS = {"float32": 2.0**-23, "bfloat16": 2.0**-7, "float8_e4m3fn": 2.0**-3, "float8_e5m2": 2.0**-2}
TINY = 1e-12


def assert_optimizer_states_match(
    checkpoint_dirs: Sequence[str | Path],
    dtype: Literal["float32", "bfloat16", "float8_e4m3fn", "float8_e5m2"] = "bfloat16",
) -> None:
    """Assert that checkpoints saved under different layouts hold the same first moments.

    Args:
        checkpoint_dirs: Two or more checkpoint folders of the megatron engine; all are compared with the first.
        dtype: In which the model was computed: the bound is ``k * C**(L + 1 - l) * eps`` for layer l.

    Raises:
        AssertionError: Names differ, a moment differs by more than the bound, or all moments are about zero.
        ConfigError: Fewer than two folders.
        CheckpointError: A folder is no such checkpoint, or is damaged.
    """
    if len(checkpoint_dirs) < 2:
        raise ConfigError(f"{len(checkpoint_dirs)} checkpoint given: two or more are needed to compare.")
    readers = [_open(Path(directory)) for directory in checkpoint_dirs]
    names = [_moments(reader) for reader in readers]
    for directory, theirs in zip(checkpoint_dirs[1:], names[1:], strict=True):
        if theirs.keys() != names[0].keys():
            only_first, only_other = sorted(names[0].keys() - theirs.keys()), sorted(theirs.keys() - names[0].keys())
            raise AssertionError(
                f"Parameters differ: only in {checkpoint_dirs[0]} {only_first}, only in {directory} {only_other}"
            )
    if not names[0]:
        raise AssertionError(f"{checkpoint_dirs[0]}: no first moments (optimizer.…{MOMENT}.…) in it")
    largest = 0.0
    for parameter, name in names[0].items():
        expected = readers[0].read(name).double()
        largest = max(largest, float(expected.abs().max()))
        for directory, reader in zip(checkpoint_dirs[1:], readers[1:], strict=True):
            actual = reader.read(name, shape=expected.shape).double()
            gap, bound = relative_gap(actual, expected), relative_bound(parameter, dtype)
            if gap > bound:
                raise AssertionError(
                    f"{parameter}: {directory} differs from {checkpoint_dirs[0]} by {gap:.3e} of its norm, "
                    f"more than {bound:.3e}"
                )
    if largest < TINY:
        raise AssertionError(f"All first moments are about zero (largest {largest:.3e}): nothing was compared")


def relative_bound(parameter: str, dtype: str) -> float:
    """Largest ``||a - b|| / ||b||`` of a parameter's gradient; what lies outside the layers counts as the first."""
    found = LAYER.search(parameter)
    layer = int(found.group(1)) if found else 0
    return float(FACTOR * GROWTH ** (NUM_LAYERS + 1 - layer) * EPSILONS[dtype])


def relative_gap(actual: Any, expected: Any) -> float:
    """``||a - b|| / ||b||``; where both are zero, as a padded vocabulary's rows are, zero."""
    gap, norm = float((actual - expected).norm()), float(expected.norm())
    return gap / norm if norm else (0.0 if gap == 0 else float("inf"))


def _open(directory: Path) -> Any:
    shards = require("bionemo.llm.checkpoints.shards", extra="bionemo-llm")
    inner = directory / shards.SHARDS_DIR
    return shards.ShardReader(inner if inner.is_dir() else directory)


def _moments(reader: Any) -> dict[str, str]:
    """Parameter names, and the names of their first moments."""
    marker = f".{MOMENT}."
    return {
        name.partition(marker)[2]: name for name in reader.names if name.startswith("optimizer.") and marker in name
    }


def main(argv: Sequence[str]) -> int:
    """Compare the checkpoints that are named; exit code 1 where they differ."""
    if not argv or argv[0] in ("-h", "--help"):
        sys.stdout.write("usage: python -m bionemo.testing.assert_optimizer_grads_match DIR DIR [DIR ...]\n")
        return 0 if argv else 2
    try:
        assert_optimizer_states_match(argv)
    except AssertionError as error:
        sys.stderr.write(f"assert_optimizer_grads_match: {error}\n")
        return 1
    sys.stdout.write(f"{len(argv)} checkpoints hold the same first moments\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, prog="assert_optimizer_grads_match"))
