# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Runs of `train_esm2` by torchrun on made-up proteins, which multi_gpu.py and megatron_scaling.py compare."""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def parse_arguments(description: str, parts: Collection[str], *, steps: int, smoke_gpus: int) -> argparse.Namespace:
    """Parse the command line; ``parts`` becomes a list and ``gpus`` a number.

    Args:
        description: Text of --help.
        parts: Names of all parts, which are run without --parts.
        steps: Default of --steps.
        smoke_gpus: Ranks of a smoke run.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(parts), help="comma-separated")
    parser.add_argument("--gpus", type=int, default=None, help="use no more than these; default: all there are")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--timeout-s", type=float, default=280, help="a run that takes longer is stopped")
    parser.add_argument("--smoke", action="store_true", help="tiny runs on CPU ranks, to see that everything runs")
    parser.add_argument("--out", type=Path, default=None, help="JSON file of all measurements, read and continued")
    arguments = parser.parse_args()
    arguments.parts = arguments.parts.split(",")
    if unknown := sorted(set(arguments.parts) - set(parts)):
        parser.error(f"--parts: {', '.join(unknown)} is not among {', '.join(parts)}")
    import torch

    found = smoke_gpus if arguments.smoke else torch.cuda.device_count()
    if not found:
        parser.error("torch sees no GPU; --smoke runs on CPU ranks")
    arguments.gpus = min(arguments.gpus or found, found)
    return arguments


@contextmanager
def made_up_proteins(*, smoke: bool) -> Iterator[Path]:
    """Write proteins of natural lengths into a temporary folder, which may hold the runs too, and give their file."""
    from bionemo.testing.data.fasta import write_fasta
    from bionemo.testing.proteins import make_proteins

    number = 400 if smoke else 40_000
    with TemporaryDirectory() as folder:
        yield write_fasta(Path(folder) / "proteins.fasta", make_proteins(number, min_length=40, max_length=1200))


class Measurements:
    """Results by their settings, kept in the file of --out, so that no run is done twice.

    Args:
        out: The file, read where it exists; None: nothing is kept.
    """

    def __init__(self, out: Path | None) -> None:
        self._out = out
        self._kept: dict[str, Any] = json.loads(out.read_text()) if out is not None and out.exists() else {}

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    def __getitem__(self, key: str) -> Any:
        return self._kept[key]

    def __setitem__(self, key: str, result: Any) -> None:
        self._kept[key] = result
        if self._out is not None:
            self._out.write_text(json.dumps(self._kept, indent=1))


def settings_of(
    fasta: Path,
    folder: Path,
    name: str,
    num_ranks: int,
    arguments: argparse.Namespace,
    flags: Mapping[str, Any],
    tiny: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the settings of a run: those that all share, its own, and in a smoke run those of a tiny model.

    Args:
        fasta: The proteins.
        folder: Where run directories go.
        name: Of the run directory.
        num_ranks: Processes.
        arguments: Of the benchmark.
        flags: Its own settings, by the names of `train_esm2`'s flags.
        tiny: Architecture and batches of a smoke run, instead of --model and compiled layers.
    """
    settings = {
        "train_fasta": fasta, "result_dir": folder, "experiment_name": name, "num_gpus": num_ranks,
        "num_steps": arguments.steps, "warmup_steps": min(10, arguments.steps // 2),
        "val_check_interval": arguments.steps, "limit_val_batches": 0, "num_dataset_workers": 1, **flags,
    }  # fmt: skip
    if not arguments.smoke:
        return settings
    without = {key: value for key, value in settings.items() if key not in ("model", "compile")}
    return {**without, "accelerator": "cpu", "num_dataset_workers": 0, **tiny}


def launch(script: list[str], settings: Mapping[str, Any], num_ranks: int, timeout_s: float) -> None:
    """Run ranks of `train_esm2` to their end.

    Args:
        script: What each rank runs: a file or ``-m`` and a module, and what stands before the flags.
        settings: Of the run; True becomes a flag without a value.
        num_ranks: Processes.
        timeout_s: Seconds that it may take.

    Raises:
        subprocess.SubprocessError: It failed, or took longer; its processes are gone.
    """
    flags = [
        f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}") for name, value in settings.items()
    ]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_ranks}"]
    environment = {"NCCL_NVLS_ENABLE": "0", **os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*launcher, *script, *flags], env=environment, start_new_session=True) as process:
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if code:
        raise subprocess.CalledProcessError(code, settings["experiment_name"])


def place(arguments: argparse.Namespace) -> str:
    """Say where the runs took place."""
    import torch

    where = "CPU smoke run" if arguments.smoke else f"{arguments.gpus} x {torch.cuda.get_device_name()}"
    return f"{where}, torch {torch.__version__}"
