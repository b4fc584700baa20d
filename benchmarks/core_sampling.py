# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Sampling in bionemo-core: memory and speed of the resampler, fill and speed of packing.

    python benchmarks/core_sampling.py [--fasta FILE]

Claims checked: 10**9 samples in under 10 MB and at least 1 M indices/s through one vectorised call; packs at least
95 % full on natural protein lengths; a window of 65,536 lengths planned in under 0.3 s. Times are CPU-seconds of one
core, the median of several rounds. The peer is an order drawn with NumPy and kept, as most data loaders do.
"""

import argparse
import gzip
import os
import pickle
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path


os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from bionemo.core.data.bin_packing import pack_best_fit
from bionemo.core.data.multi_epoch_dataset import EpochIndex, MultiEpochDatasetResampler
from bionemo.core.data.token_budget_sampler import TokenBudgetBatchSampler


REAL_DATA = Path(__file__).resolve().parents[2] / "shared/data/uniref90_9k.fasta.gz"
NUM_SAMPLES, NUM_INDICES, WINDOW = 10**9, 1_000_000, 65_536
MAX_TOKENS = 1024


class Numbers:
    """A dataset of which only the length counts here."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: EpochIndex) -> EpochIndex:
        return index


def cpu_seconds(work: Callable[[], object], rounds: int) -> float:
    """Median CPU time of the work."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def peak_mb(work: Callable[[], object]) -> float:
    """Most memory that the work holds at once, by the allocations that Python and NumPy report."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def read_here_and_there() -> None:
    """Build the large resampler; read single samples and stretches of 10,000 all over its epochs."""
    resampler = MultiEpochDatasetResampler(Numbers(NUM_SAMPLES), num_epochs=1000)
    for start in range(0, len(resampler), len(resampler) // 50):
        _ = resampler[start]
        resampler.indices(start, start + 10_000)


def protein_lengths(fasta: Path) -> "np.ndarray":
    """Tokens of each sequence, with the two special ones, cut at the model's length."""
    if not fasta.exists():
        print(f"({fasta} is not there: log-normal lengths of the same median and mean)")
        made_up = np.random.default_rng(0).lognormal(5.6, 0.65, 9000).astype(np.int64)
        return np.clip(made_up + 2, 10, MAX_TOKENS)
    records = gzip.decompress(fasta.read_bytes()).decode().split(">")[1:]
    lengths = [len(record.partition("\n")[2].replace("\n", "")) for record in records]
    return np.minimum(np.array(lengths) + 2, MAX_TOKENS)


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fasta", type=Path, default=REAL_DATA)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {os.cpu_count()} cores, {time.strftime('%F')}")

    print(f"\nResampler, {NUM_SAMPLES:,} samples x 1,000 epochs")
    resampler = MultiEpochDatasetResampler(Numbers(NUM_SAMPLES), num_epochs=1000)
    ours_mb = peak_mb(read_here_and_there)
    stored_mb = peak_mb(lambda: np.random.default_rng(0).permutation(NUM_SAMPLES // 100)) * 100
    print(f"  memory: {ours_mb:.1f} MB, pickled {len(pickle.dumps(resampler))} B; a stored order: {stored_mb:,.0f} MB")
    for length in (10, 1000, NUM_SAMPLES):
        many = MultiEpochDatasetResampler(Numbers(length), num_epochs=10**12 // length)
        seconds = cpu_seconds(lambda many=many: many.indices(12_345, 12_345 + NUM_INDICES), arguments.rounds)
        print(f"  {length:>13,} samples per epoch: {NUM_INDICES / seconds / 1e6:6.1f} M indices/s")

    lengths = protein_lengths(arguments.fasta)
    drawn = np.random.default_rng(0).choice(lengths, WINDOW)
    print(f"\nPacking, {len(lengths):,} lengths, mean {lengths.mean():.0f}; speed on a window of {WINDOW:,}")
    for max_tokens in (1024, 2048, 4096, 8192, 16_384, 32_768):
        sampler = TokenBudgetBatchSampler(lengths, max_tokens, num_epochs=1)
        fill = lengths.sum() / (sampler.num_packs * max_tokens)
        seconds = cpu_seconds(lambda max_tokens=max_tokens: pack_best_fit(drawn, max_tokens), arguments.rounds)
        simple = next_fit(lengths.tolist(), max_tokens)
        print(f"  budget {max_tokens:>6,}: {fill:7.2%} full, next fit {simple:7.2%}, {seconds:.3f} s")


def next_fit(lengths: list[int], max_tokens: int) -> float:
    """Fill of the simplest packing, which only ever looks at the open pack."""
    num_packs, used = 1, 0
    for length in lengths:
        if used + length > max_tokens:
            num_packs, used = num_packs + 1, 0
        used += length
    return sum(lengths) / (num_packs * max_tokens)


if __name__ == "__main__":
    main()
