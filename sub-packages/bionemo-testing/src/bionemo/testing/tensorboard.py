# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Look into TensorBoard event files."""

from pathlib import Path


def verify_tensorboard_logs(tb_log_dir: str | Path, expected_metrics: list[str], min_steps: int = 1) -> str | None:
    """Check that a run logged what it should.

    Args:
        tb_log_dir: Folder with event files, at any depth below it.
        expected_metrics: Each must be part of the name of a scalar.
        min_steps: Number of steps that each expected metric must have.

    Returns:
        None when all is there, else what is missing.

    Raises:
        MissingDependencyError: tensorboard is not installed.
    """
    from bionemo.core.optional_deps import require

    module = require("tensorboard.backend.event_processing.event_accumulator", extra="tensorboard")
    folders = sorted({path.parent for path in Path(tb_log_dir).rglob("*tfevents*") if path.is_file()})
    if not folders:
        return f"No TensorBoard event files found in {tb_log_dir}"
    steps: dict[str, set[int]] = {}
    for folder in folders:
        events = module.EventAccumulator(str(folder), size_guidance={module.SCALARS: 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            steps.setdefault(tag, set()).update(event.step for event in events.Scalars(tag))
    for metric in expected_metrics:
        found = [tag for tag in steps if metric in tag]
        if not found:
            return f"Expected metric '{metric}' not found in TensorBoard logs. Available tags: {sorted(steps)}"
        most = max(len(steps[tag]) for tag in found)
        if most < min_steps:
            return f"Expected at least {min_steps} steps logged, but found {most}"
    return None
