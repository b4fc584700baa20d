# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a finished run has reached, and where its files lie: the last lines of a training command."""

import math

from bionemo.core.progress import format_seconds
from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.llm.training.run_directory import RunDirectory


SUMMARIZED = (
    ("train_loss", "training loss", "nats/token"),
    ("val_loss", "validation loss", "nats/token"),
    ("val_loss_masked", "loss, all selected masked", "nats/token"),
    ("val_ppl", "validation perplexity", ""),
    ("tokens_per_s", "throughput", "tokens/s"),
)
"""Column of metrics.csv, its name for people, its unit."""


def summarize_run(run: RunDirectory, *, seconds: float, unigram_loss: float, opening: str) -> str:
    """Return the final metrics of a run, and where its checkpoint and its picture are.

    Args:
        run: A finished run.
        seconds: How long it took.
        unigram_loss: Cross-entropy of the validation tokens under the unigram baseline, nats/token.
        opening: Line that opens the checkpoint; ``{path}`` stands for its folder.

    Returns:
        Lines, the last one without its end.
    """
    lines = [("trained for", format_seconds(seconds))]
    metrics = read_metrics(run.metrics_path) if run.metrics_path.exists() else {}
    for column, name, unit in SUMMARIZED:
        measured = [value for value in metrics.get(column, ()) if not math.isnan(value)]
        if not measured:
            continue
        text = f"{measured[-1]:.4g} {unit}".rstrip()
        if column == "val_loss_masked":
            side = "below" if measured[-1] < unigram_loss else "above"
            text += f" ({abs(unigram_loss - measured[-1]):.2f} {side} the unigram cross-entropy {unigram_loss:.2f})"
        lines.append((name, text))
    checkpoint = run.checkpoints_dir / "last"
    lines += [("picture", str(run.plot_path))] if run.plot_path.exists() else []
    if checkpoint.exists():
        lines += [("checkpoint", str(checkpoint)), ("open it", opening.format(path=checkpoint))]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)
