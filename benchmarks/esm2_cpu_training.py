# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Training speed of ESM-2 8M on a CPU against a Hugging Face loop, in one process, float32, AdamW step included.

Three ways to train on the same sequences of natural lengths (cut at 1,024 tokens):
  ours      packs of 4,096 tokens, the module and data path of `train_esm2`
  random    EsmForMaskedLM, sdpa, batches of 16 in random order, padded to the longest of the batch
  grouped   the same, the pool sorted by length before it is cut into batches of 16 (about 16 % padding)

    python benchmarks/esm2_cpu_training.py [--rounds 3] [--fasta FILE]

Each round draws a pool of 128 sequences and trains on all of it in every way, so that none gets easier lengths (long
sequences cost far more per token than short ones). Rates count tokens of sequences, never padding, per CPU-second of
the whole process, because cores may be shared; ratios are medians over the rounds.

    python benchmarks/esm2_cpu_training.py --under-load [--rounds 5] [--fasta FILE]

compares `train_esm2` as it is, with a short spin of idle OpenMP threads, against OpenMP's default, alone and beside
other processes: two busy ones, and two that run torch on two threads each. Runs alternate; rates are tokens per second
of wall clock, medians of the rows of metrics.csv.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np


warnings.filterwarnings("ignore")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch  # noqa: E402 - after the switches above
from transformers import EsmConfig, EsmForMaskedLM  # noqa: E402

from bionemo.core.data.size_aware_batching import TokenBudgetBatchSampler  # noqa: E402
from bionemo.core.openmp import POLICY_VARIABLES  # noqa: E402
from bionemo.esm2.api import build_esm2, esm2_config  # noqa: E402
from bionemo.esm2.data.packed_dataset import PackedProteinDataset, build_masking  # noqa: E402
from bionemo.esm2.data.sequence_store import SequenceStore  # noqa: E402
from bionemo.esm2.data.sequence_store_writer import open_or_build_store  # noqa: E402
from bionemo.esm2.model.hf_layout import ESM2Layout  # noqa: E402
from bionemo.llm.lightning import packed_forward_step, packed_loss  # noqa: E402
from bionemo.llm.training.metrics_csv import read_metrics  # noqa: E402
from bionemo.llm.training.optimizer import OptimizerConfig, build_optimizer  # noqa: E402
from bionemo.testing.data.fasta import write_fasta  # noqa: E402
from bionemo.testing.proteins import make_proteins  # noqa: E402


REAL_DATA = Path(__file__).resolve().parents[2] / "shared/data/uniref90_9k.fasta.gz"
MAX_TOKENS, PACK_TOKENS, BATCH_SIZE, POOL_SIZE = 1024, 4096, 16, 128
MASK_ID, PAD_ID, IGNORED = 32, 1, -100

Pass = Callable[[np.ndarray], None]
"""Trains once on a pool, given the places of its sequences in the store."""


def our_pass(store: SequenceStore) -> Pass:
    """Train on packs."""
    model = build_esm2(esm2_config("8M")).model
    optimizer = build_optimizer(model, OptimizerConfig())

    def train_on(pool: np.ndarray) -> None:
        data = PackedProteinDataset(
            store,
            subset=pool,
            seed=1,
            max_seq_length=MAX_TOKENS,
            max_tokens=PACK_TOKENS,
            masking=build_masking(seed=1),
        )
        for pack in TokenBudgetBatchSampler(data.token_lengths, PACK_TOKENS, num_samples=len(data), num_epochs=1):
            batch = data[pack]
            loss_sum, count = packed_loss(batch, packed_forward_step(model, batch))
            loss_sum.backward()
            torch._foreach_div_([p.grad for p in model.parameters() if p.grad is not None], count.item())
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    return train_on


def padded_batch(
    store: SequenceStore, rows: np.ndarray, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels of a batch, padded to its longest sequence."""
    lengths = np.minimum(store.lengths[rows], MAX_TOKENS)
    ids = np.full((len(rows), int(lengths.max())), PAD_ID, dtype=np.int64)
    for row, (idx, length) in enumerate(zip(rows, lengths, strict=True)):
        ids[row, :length] = store.gather(np.array([idx]))[:length]
    selected = (rng.random(ids.shape) < 0.15) & (ids > 3)
    labels = np.where(selected, ids, IGNORED)
    return torch.from_numpy(np.where(selected, MASK_ID, ids)), torch.from_numpy(labels)


def hugging_face_pass(store: SequenceStore, *, grouped: bool, padding: list[float]) -> Pass:
    """Train EsmForMaskedLM on padded batches of 16."""
    config = EsmConfig(**{**ESM2Layout().config_to_hf(esm2_config("8M")), "attn_implementation": "sdpa"})
    model = EsmForMaskedLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-4, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    rng = np.random.default_rng(1)

    def train_on(pool: np.ndarray) -> None:
        order = pool[np.argsort(store.lengths[pool])] if grouped else pool
        for rows in rng.permutation(order.reshape(-1, BATCH_SIZE)):
            ids, labels = padded_batch(store, rows, rng)
            mask = (ids != PAD_ID).long()
            model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            padding.append(1 - mask.sum().item() / mask.numel())

    return train_on


LOADS = {
    "alone": (None, 0.95),
    "two busy processes": ("while True: pass", 1.8),
    "two torch processes": (
        "import torch; torch.set_num_threads(2); x = torch.randn(512, 512)\nwhile True: torch.relu(x @ x)",
        2.5,
    ),
}
"""What runs beside the training, twice, and the least ratio of rates that we want there."""

SMALL_RUN = (
    *"--num-layers 4 --hidden-size 128 --num-attention-heads 4 --ffn-hidden-size 512 --max-seq-length 512".split(),
    *"--tokens-per-batch 2048 --num-steps 24 --log-every-n-steps 2 --val-check-interval 24".split(),
    *"--limit-val-batches 1 --disable-checkpointing --accelerator cpu --num-dataset-workers 0".split(),
)


@contextlib.contextmanager
def two_processes(code: str | None) -> Iterator[None]:
    """Run Python code in two processes beside the block; None runs nothing."""
    environment = {name: value for name, value in os.environ.items() if name not in POLICY_VARIABLES}
    processes = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(2 if code else 0)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def train_rate(store_path: Path, folder: Path, *, default_spin: bool) -> float:
    """Train by the command; tokens per second of wall clock, median of the rows after the first two."""
    environment = {name: value for name, value in os.environ.items() if name not in POLICY_VARIABLES}
    if default_spin:
        environment["GOMP_SPINCOUNT"] = "300000"  # libgomp's default; naming it keeps the command from choosing
    flags = ["--train-fasta", store_path, "--result-dir", folder, "--experiment-name", f"run-{time.time_ns()}"]
    command = [sys.executable, "-m", "bionemo.esm2.scripts.train_esm2", *SMALL_RUN, *map(str, flags)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    rates = read_metrics(Path(done.stdout.strip()) / "metrics.csv")["tokens_per_s"]
    return float(np.median(rates[~np.isnan(rates)][2:]))


def measure_under_load(store_path: Path, folder: Path, rounds: int) -> None:
    """Print the rates with a short and with the default spin, alternating, in each situation."""
    print(f"train_esm2, torch {torch.__version__}, {os.cpu_count()} cores, tokens/s; medians of {rounds} rounds")
    for name, (code, bar) in LOADS.items():
        rates: dict[bool, list[float]] = {False: [], True: []}
        with two_processes(code):
            for number in range(rounds):
                for default_spin in (False, True) if number % 2 else (True, False):
                    rates[default_spin].append(train_rate(store_path, folder, default_spin=default_spin))
        ours, default = statistics.median(rates[False]), statistics.median(rates[True])
        rate = f"short spin {ours:8.0f}, default {default:8.0f}: {ours / default:.2f} x (bar {bar})"
        print(f"  {name:20} {rate}", flush=True)  # a situation takes minutes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="ESM-2 8M training on a CPU: packed against padded.")
    parser.add_argument("--rounds", type=int, default=3, help="pools of 128 sequences")
    parser.add_argument(
        "--threads", type=int, default=1, help="torch threads; idle ones spin, which CPU-seconds would count"
    )
    parser.add_argument(
        "--fasta", type=Path, default=REAL_DATA, help="sequences; generated ones where the file is absent"
    )
    parser.add_argument(
        "--under-load", action="store_true", help="compare spins of OpenMP beside other processes instead"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with TemporaryDirectory() as folder:
        fasta = arguments.fasta
        if not fasta.exists():
            fasta = Path(folder) / "generated.fasta"
            write_fasta(fasta, make_proteins(4000, min_length=40, max_length=1400))
        store = open_or_build_store(fasta, Path(folder) / "store")
        if arguments.under_load:
            measure_under_load(Path(folder) / "store", Path(folder) / "runs", arguments.rounds)
            return
        padding: dict[str, list[float]] = {"random": [], "grouped": []}
        passes = {
            "ours": our_pass(store),
            "random": hugging_face_pass(store, grouped=False, padding=padding["random"]),
            "grouped": hugging_face_pass(store, grouped=True, padding=padding["grouped"]),
        }
        rng = np.random.default_rng(0)
        shortest = np.argsort(store.lengths)[:BATCH_SIZE]
        rates: dict[str, list[float]] = {name: [] for name in passes}
        for train_on in passes.values():  # warm-up
            train_on(shortest)
        for values in padding.values():
            values.clear()
        for _ in range(arguments.rounds):
            pool = rng.permutation(len(store))[:POOL_SIZE]
            num_tokens = int(np.minimum(store.lengths[pool], MAX_TOKENS).sum())
            for name, train_on in passes.items():
                start = time.process_time()
                train_on(pool)
                rates[name].append(num_tokens / (time.process_time() - start))
    print(
        f"{fasta.name}, torch {torch.__version__}, {torch.get_num_threads()} thread(s), float32; tokens per CPU-second"
    )
    for name, values in rates.items():
        waste = f", {100 * np.mean(padding[name]):.0f} % padding" if name in padding else ""
        print(f"  {name:8} {statistics.median(values):8.0f}   (min {min(values):.0f}, max {max(values):.0f}{waste})")
    for name, bars in (("random", "bar 4.0, stretch 5"), ("grouped", "bar 1.4, stretch 1.8")):
        ratios = [ours / theirs for ours, theirs in zip(rates["ours"], rates[name], strict=True)]
        print(
            f"ours / {name:8} {statistics.median(ratios):.2f}   (min {min(ratios):.2f}, max {max(ratios):.2f}; {bars})"
        )


if __name__ == "__main__":
    main()
