# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The megatron engine against the lightning one, and against itself on more GPUs. Needs the extra bionemo-llm[nemo].

    python benchmarks/megatron_scaling.py [--parts overhead,scaling,tp2] [--gpus N] [--steps 50] [--out results.json]
    python benchmarks/megatron_scaling.py --smoke     the same runs of a tiny model on a CPU: no figure means anything

Each part compares runs of `train_esm2` on made-up proteins of natural lengths, read from their metrics.csv:
  overhead  650M on one GPU: tokens/s of the megatron engine, at least 95 % of the lightning engine's
  scaling   650M data parallel on 1, 2 and 4 GPUs, as many tokens a GPU: at least 95 % of n times one GPU's tokens/s
  tp2       3B, two tensor-parallel ranks: each of the first losses within 0.5 % of one GPU's on the lightning engine
A run that needs more GPUs than there are, or than --gpus says, is left out, and the table says so. Results are written
after each run, and those of the same settings that --out holds already are not run again: a machine that is lent for
minutes goes on where the last one stopped. Exits with 1 where a bar is missed or a run fails. Rates are medians over
rows of five steps without the first two rows.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from train_esm2_runs import Measurements, launch, made_up_proteins, parse_arguments, place, settings_of


STAND_IN = "--stand-in"
ROWS_OF_WARM_UP, STEPS_A_ROW = 2, 5
TINY = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "ffn_hidden_size": 64, "tokens_per_batch": 1024}


class Run(NamedTuple):
    """One training run.

    Attributes:
        name: Of its run directory and its line in the table.
        num_gpus: Ranks.
        flags: Of `train_esm2`, beside those that all runs share.
        compiled: With compiled layers, on a GPU.
    """

    name: str
    num_gpus: int
    flags: dict[str, Any]
    compiled: bool = True


def parts() -> dict[str, list[Run]]:
    """The runs of each part; the first is what the others are held against."""
    rates = {"model": "650M", "tokens_per_batch": 32_768, "log_every_n_steps": STEPS_A_ROW}
    losses = {"model": "3B", "tokens_per_batch": 4096, "accumulate_grad_batches": 4, "log_every_n_steps": 1}
    megatron = {**rates, "engine": "megatron"}
    return {
        "overhead": [Run("lightning", 1, {**rates, "engine": "lightning"}), Run("megatron", 1, megatron)],
        "scaling": [Run(f"{num_gpus}-gpus", num_gpus, megatron) for num_gpus in (1, 2, 4)],
        "tp2": [
            Run("one-gpu", 1, {**losses, "engine": "lightning"}, compiled=False),
            Run("tensor-2", 2, {**losses, "tensor_model_parallel_size": 2}, compiled=False),
        ],
    }


def train(run: Run, fasta: Path, folder: Path, arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Run a training to its end and give its rates and losses.

    Raises:
        subprocess.SubprocessError: It failed, or took longer than --timeout-s; its processes are gone.
    """
    from bionemo.llm.training.metrics_csv import read_metrics

    flags = {**run.flags, "disable_checkpointing": True, **({"compile": True} if run.compiled else {})}
    script = [__file__, STAND_IN] if arguments.smoke else ["-m", "bionemo.esm2.scripts.train_esm2"]
    settings = settings_of(fasta, folder, run.name, run.num_gpus, arguments, flags, TINY)
    launch(script, settings, run.num_gpus, arguments.timeout_s)
    metrics = read_metrics(folder / run.name / "metrics.csv")
    return {name: metrics[name].tolist() for name in ("tokens_per_s", "train_loss")}


def rate(metrics: dict[str, list[float]]) -> float:
    """Tokens a second of all ranks."""
    rows = metrics["tokens_per_s"]
    return statistics.median(rows[ROWS_OF_WARM_UP:] if len(rows) > ROWS_OF_WARM_UP else rows)


def compare(part: str, run: Run, metrics: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    """One line of the table."""
    line = {"part": part, "run": run.name, "gpus": run.num_gpus, "tokens_per_s": rate(metrics)}
    if part == "tp2":
        gap = np.abs(np.array(metrics["train_loss"]) / np.array(first["train_loss"]) - 1).max()
        return {**line, "value": float(gap), "passed": bool(gap <= 0.005), "bar": "losses within 0.5 %"}
    share = rate(metrics) / (rate(first) * run.num_gpus)
    return {**line, "value": share, "passed": share >= 0.95, "bar": "at least 95 %"}


def table(lines: list[dict[str, Any]]) -> str:
    """Lay the lines out in Markdown."""
    text = ["| part | run | GPUs | tokens/s | against the first | bar |", "|---|---|---|---|---|---|"]
    for line in lines:
        if "missing" in line:
            text.append(f"| {line['part']} | {line['run']} | {line['gpus']} | not run: {line['missing']} | | |")
            continue
        verdict = f"{line['bar']}: {'yes' if line['passed'] else 'NO'}"
        shown = f"{line['value']:.2%}"
        text.append(
            f"| {line['part']} | {line['run']} | {line['gpus']} | {line['tokens_per_s']:,.0f} | {shown} | {verdict} |"
        )
    return "\n".join(text)


def stand_in(flags: list[str]) -> int:
    """Be one rank of `train_esm2` on a machine without a GPU."""
    from bionemo.llm.training.third_party_warnings import silence_third_parties

    silence_third_parties()
    warnings.filterwarnings("ignore", message="The .grad attribute")  # Megatron's, by way of the stand-in
    from bionemo.core.command import run_command
    from bionemo.esm2.scripts.train_esm2 import main as train_esm2
    from bionemo.testing.megatron_on_cpu import megatron_on_cpu

    with megatron_on_cpu():
        return run_command(train_esm2, flags, prog="train_esm2")


def measure(part: str, fasta: Path, arguments: argparse.Namespace, measured: Measurements) -> list[dict[str, Any]]:
    """Run what is missing of a part, keep it, and give its lines of the table."""
    lines: list[dict[str, Any]] = []
    first: dict[str, Any] | None = None
    for run in parts()[part]:
        key = json.dumps([*run[1:], arguments.steps, arguments.smoke], sort_keys=True)  # equal runs are done once
        line = {"part": part, "run": run.name, "gpus": run.num_gpus}
        if lines and first is None:
            lines.append({**line, "missing": "there is no first run to hold it against"})
            continue
        if key not in measured and run.num_gpus > arguments.gpus:
            lines.append({**line, "missing": f"needs {run.num_gpus} GPUs, found {arguments.gpus}"})
            continue
        if key not in measured:
            start = time.monotonic()
            try:
                measured[key] = train(run, fasta, fasta.parent / part, arguments)
            except subprocess.SubprocessError as error:
                lines.append({**line, "missing": f"{type(error).__name__}: {error}", "passed": False})
                continue
            seconds = time.monotonic() - start
            print(
                f"{part}, {run.name}: {rate(measured[key]):,.0f} tokens/s, {seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )
        first = first or measured[key]
        lines.append(compare(part, run, measured[key], first))
    return lines


def main() -> int:
    """Run the parts and print the table."""
    if sys.argv[1:2] == [STAND_IN]:
        return stand_in(sys.argv[2:])
    arguments = parse_arguments(__doc__, parts(), steps=50, smoke_gpus=4)
    measured = Measurements(arguments.out)
    lines: list[dict[str, Any]] = []
    with made_up_proteins(smoke=arguments.smoke) as fasta:
        for part in arguments.parts:
            lines += measure(part, fasta, arguments, measured)
    print(f"{place(arguments)}\n{table(lines)}")
    return int(not all(line.get("passed", True) for line in lines if not arguments.smoke or "missing" in line))


if __name__ == "__main__":
    sys.exit(main())
