# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""`train_esm2` itself on several GPUs: tokens/s a GPU and peak memory of ddp and fsdp, against one GPU and prediction.

    python benchmarks/multi_gpu.py [--parts 650M,3B,15B,save] [--gpus N] [--steps 100] [--out results.json]
    python benchmarks/multi_gpu.py --smoke     the same runs of a tiny model on two CPU ranks: no figure means anything

Parts, on made-up proteins of natural lengths, 32,768 tokens a GPU and step, bf16-mixed, compiled:
  650M   one GPU; ddp and fsdp on all: per GPU at least 0.97 x one GPU (median of the last 10 rows), no row below 0.9
  3B     one GPU; fsdp on all: at least 29,000 tokens/s a GPU and at most 76 GiB
  15B    fsdp on all, whole layers recomputed: it trains, in the memory that was predicted to within 5 %
  save   650M on one GPU: seconds that a checkpoint pauses the training, written at once and by a thread: a tenth
Each rank leaves its peak of allocated memory (torch's allocator; on a CPU the resident set with all imports). A
run that needs more GPUs than there are is left out, and the table says so. Results are written after each run; those
of the same settings that --out holds already are not run again. Exits with 1 where a bar is missed or a run fails.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from train_esm2_runs import Measurements, launch, made_up_proteins, parse_arguments, place, settings_of


WORKER = "--worker"
STEPS_A_ROW, ROWS = 5, 10
TOKENS = 32_768
TINY = {"num_layers": 4, "hidden_size": 64, "num_attention_heads": 4, "ffn_hidden_size": 256, "tokens_per_batch": 1024}


class Run(NamedTuple):
    """One training run: its name, size, strategy, flags of `train_esm2`; the bars are its own."""

    name: str
    size: str
    strategy: str
    flags: dict[str, Any]
    least_share: float | None = None
    least_rate: float | None = None
    most_gib: float | None = None
    predicted_within: float | None = None


def parts(gpus: int) -> dict[str, list[Run]]:
    """Return the runs of each part; the first of a size on one GPU is what the others are compared with."""
    common = {"tokens_per_batch": TOKENS, "compile": True}
    saving = {**common, "save_interval": 25}
    return {
        "650M": [
            Run("650M-one", "650M", "single", common),
            Run("650M-ddp", "650M", "ddp", common, least_share=0.97),
            Run("650M-fsdp", "650M", "fsdp", common, least_share=0.97),
        ],
        "3B": [
            Run("3B-one", "3B", "single", common),
            Run("3B-fsdp", "3B", "fsdp", common, least_rate=29_000, most_gib=76 if gpus == 2 else None),
        ],
        "15B": [Run("15B-fsdp", "15B", "fsdp", {**common, "recompute": "full"}, predicted_within=0.05)],
        "save": [
            Run("save-at-once", "650M", "single", saving),
            Run("save-by-thread", "650M", "single", {**saving, "ckpt_async_save": True}),
        ],
    }


def train(run: Run, fasta: Path, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run a training to its end.

    Returns:
        Rows of tokens/s of all ranks, the highest peak of a rank in GiB, and the longest pause for a checkpoint.

    Raises:
        subprocess.SubprocessError: It failed, or took longer than --timeout-s; its processes are gone.
    """
    from bionemo.llm.training.metrics_csv import read_metrics

    ranks = 1 if run.strategy == "single" else arguments.gpus
    flags = {
        "log_every_n_steps": STEPS_A_ROW,
        "model": run.size,
        "strategy": "auto" if run.strategy == "single" else run.strategy,
        **run.flags,
    }
    if "save_interval" not in flags:
        flags["disable_checkpointing"] = True
    peaks = folder / f"{run.name}.peaks"
    peaks.mkdir(parents=True)
    settings = settings_of(fasta, folder, run.name, ranks, arguments, flags, TINY)
    launch([__file__, WORKER, str(peaks)], settings, ranks, arguments.timeout_s)
    measured = [json.loads(path.read_text()) for path in peaks.iterdir()]
    metrics = read_metrics(folder / run.name / "metrics.csv")
    return {
        "ranks": ranks,
        "tokens_per_s": metrics["tokens_per_s"].tolist(),
        "train_loss": metrics["train_loss"].tolist(),
        "peak_gib": max(each["peak_gib"] for each in measured),
        "pause_s": max(each["pause_s"] for each in measured),
    }


def worker(peaks: Path, flags: list[str]) -> int:
    """Be one rank of `train_esm2`, and leave its peak of memory and the median pause for a checkpoint."""
    import resource

    import torch

    from bionemo.core.command import run_command
    from bionemo.esm2.scripts.train_esm2 import main as train_esm2
    from bionemo.llm.training.checkpoint_writer import CheckpointWriter

    pauses: list[float] = []
    save = CheckpointWriter.save

    def timed(self: Any, trainer: Any, module: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        save(self, trainer, module)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        pauses.append(time.perf_counter() - start)

    CheckpointWriter.save = timed  # type: ignore[method-assign]  # this process measures
    code = run_command(train_esm2, flags, prog="train_esm2")
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated() / 2**30
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    middle = pauses[1:-1]  # the first allocates the host's copies, the last one waits until it is written
    record = {"peak_gib": peak, "pause_s": statistics.median(middle) if middle else 0.0}
    (peaks / os.environ["RANK"]).write_text(json.dumps(record))
    return code


def predicted_gib(run: Run, ranks: int) -> float:
    """Return the predicted peak of one rank in GiB."""
    from bionemo.esm2.model.model import esm2_config
    from bionemo.llm.training.ranks.memory import GIB, StepShape, plan_memory

    step = StepShape(tokens=TOKENS, num_ranks=ranks, recompute=run.flags.get("recompute", "none"))
    return plan_memory(run.strategy, esm2_config(run.size), 33, step).total / GIB  # type: ignore[arg-type]


def judge(run: Run, measured: dict[str, Any], one_gpu: float | None, smoke: bool) -> dict[str, Any]:
    """Return one line of the table."""
    rows = [rate / measured["ranks"] for rate in measured["tokens_per_s"][-ROWS:]]
    rate = statistics.median(rows)
    predicted = None if smoke else predicted_gib(run, measured["ranks"])
    bars: dict[str, bool] = {}
    if run.least_share is not None and one_gpu is not None:
        bars[f"at least {run.least_share} x one GPU"] = rate >= run.least_share * one_gpu
        bars["no row below 0.9"] = min(rows) >= 0.9 * one_gpu
    if run.least_rate is not None:
        bars[f"at least {run.least_rate:,.0f} tokens/s"] = rate >= run.least_rate
    if run.most_gib is not None:
        bars[f"at most {run.most_gib} GiB"] = measured["peak_gib"] <= run.most_gib
    if run.predicted_within is not None and predicted is not None:
        gap = abs(measured["peak_gib"] / predicted - 1)
        bars[f"predicted within {run.predicted_within:.0%}"] = gap <= run.predicted_within
    return {
        "run": run.name, "ranks": measured["ranks"], "rate": rate, "lowest": min(rows),
        "share": None if one_gpu is None else rate / one_gpu, "peak_gib": measured["peak_gib"],
        "predicted_gib": predicted, "pause_s": measured["pause_s"], "bars": bars,
        "passed": smoke or all(bars.values()),
    }  # fmt: skip


def table(lines: list[dict[str, Any]]) -> str:
    """Return the lines in Markdown."""
    text = [
        "| run | GPUs | tokens/s a GPU | lowest row | of one GPU | peak, GiB | predicted | pause to save, s | bars |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        if "missing" in line:
            text.append(f"| {line['run']} | | not run: {line['missing']} | | | | | | |")
            continue
        share = "" if line["share"] is None else f"{line['share']:.3f}"
        predicted = "" if line["predicted_gib"] is None else f"{line['predicted_gib']:.1f}"
        bars = ", ".join(f"{bar}: {'yes' if passed else 'NO'}" for bar, passed in line["bars"].items())
        pause = f"{line['pause_s']:.2f}" if line["pause_s"] else ""
        text.append(
            f"| {line['run']} | {line['ranks']} | {line['rate']:,.0f} | {line['lowest']:,.0f} | {share} | "
            f"{line['peak_gib']:.1f} | {predicted} | {pause} | {bars} |"
        )
    return "\n".join(text)


def measure(runs: list[Run], fasta: Path, arguments: argparse.Namespace, kept: Measurements) -> list[dict[str, Any]]:
    """Run what is missing of a part, keep it, and return its lines of the table."""
    lines: list[dict[str, Any]] = []
    one_gpu = None
    for run in runs:
        ranks = 1 if run.strategy == "single" else arguments.gpus
        key = json.dumps([run.name, run.strategy, run.flags, ranks, arguments.steps, arguments.smoke], sort_keys=True)
        if key not in kept and run.strategy != "single" and arguments.gpus < 2:
            lines.append({"run": run.name, "missing": f"needs 2 GPUs, found {arguments.gpus}"})
            continue
        if key not in kept:
            try:
                kept[key] = train(run, fasta, fasta.parent, arguments)
            except subprocess.SubprocessError as error:
                lines.append({"run": run.name, "missing": f"{type(error).__name__}: {error}", "passed": False})
                continue
        lines.append(judge(run, kept[key], one_gpu, arguments.smoke))
        print(table(lines[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
        if run.strategy == "single" and one_gpu is None:
            one_gpu = lines[-1]["rate"]
    if {line["run"] for line in lines if "pause_s" in line} >= {"save-at-once", "save-by-thread"}:
        at_once, by_thread = (line["pause_s"] for line in lines)
        lines[1]["bars"] = {"pause at most a tenth": by_thread <= 0.1 * at_once}
        lines[1]["passed"] = arguments.smoke or all(lines[1]["bars"].values())
    return lines


def main() -> int:
    """Run the parts and print the table."""
    if sys.argv[1:2] == [WORKER]:
        return worker(Path(sys.argv[2]), sys.argv[3:])
    arguments = parse_arguments(__doc__, parts(2), steps=100, smoke_gpus=2)
    kept = Measurements(arguments.out)
    lines: list[dict[str, Any]] = []
    with made_up_proteins(smoke=arguments.smoke) as fasta:
        for part in arguments.parts:
            lines += measure(parts(arguments.gpus)[part], fasta, arguments, kept)
    print(f"{place(arguments)}\n{table(lines)}")
    return int(not all(line.get("passed", True) for line in lines))


if __name__ == "__main__":
    sys.exit(main())
