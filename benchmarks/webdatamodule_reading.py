# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Reading speed of WebDataModule against bare webdataset, on the same tars in the same process.

    python benchmarks/webdatamodule_reading.py [--samples 4000] [--rounds 5]

Each round reads every kind of sample once with both readers, in turns; the table gives medians of samples per second
and of CPU time per sample. The target is a ratio of at least 0.90. Bare webdataset unpickles anything; ours checks
every class against its whitelist.
"""

import argparse
import json
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
import webdataset as wds

from bionemo.webdatamodule.datamodule import Split, WebDataModule
from bionemo.webdatamodule.utils import pickles_to_tars


def make_kinds() -> dict[str, tuple[str, Callable[[np.random.Generator], bytes]]]:
    """Return suffix and maker of each kind of sample."""
    return {
        "tensor, 2 kB, pickled": ("tensor.pyd", lambda rng: pickle.dumps(torch.from_numpy(rng.random(256)))),
        "array, 2 kB, pickled": ("array.pyd", lambda rng: pickle.dumps(rng.random(256))),
        "array, 64 kB, pickled": ("array.pyd", lambda rng: pickle.dumps(rng.random(8192))),
        "dict of numbers, json": ("json", lambda rng: json.dumps({"x": rng.random(8).tolist()}).encode()),
    }


def timed(samples: Iterable[object]) -> tuple[int, float, float]:
    """Run through all samples: their number, wall seconds and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = sum(1 for _ in samples)
    return count, time.perf_counter() - wall, time.process_time() - cpu


def compare(suffix: str, make: Callable[[np.random.Generator], bytes], num_samples: int, rounds: int) -> list[float]:
    """Measure one kind: samples/s of ours and bare webdataset, CPU microseconds per sample of both."""
    rng = np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as folder:
        files, tars = Path(folder, "files"), Path(folder, "tars")
        files.mkdir()
        names = [f"sample{i:06d}" for i in range(num_samples)]
        for name in names:
            (files / f"{name}.{suffix}").write_bytes(make(rng))
        pickles_to_tars(str(files), names, suffix, str(tars), "shard", min_num_shards=4)
        module = WebDataModule(suffix, {Split.test: str(tars)}, "shard", kwargs_wld={Split.test: {"batch_size": None}})
        module.setup("test")
        urls = sorted(str(path) for path in tars.glob("*.tar"))
        results: dict[str, list[tuple[int, float, float]]] = {"ours": [], "bare": []}
        for _ in range(rounds + 1):
            results["ours"].append(timed(module.test_dataloader()))
            bare = wds.WebDataset(urls, shardshuffle=False).decode().extract_keys(f"*.{suffix}")
            results["bare"].append(timed(wds.WebLoader(bare, batch_size=None)))
    rates, cpus = [], []
    for reader in ("ours", "bare"):
        measured = results[reader][1:]  # the first round warms up the page cache
        assert all(count == num_samples for count, _, _ in measured)
        rates.append(statistics.median(count / wall for count, wall, _ in measured))
        cpus.append(statistics.median(1e6 * cpu / count for count, _, cpu in measured))
    return rates + cpus


def main() -> None:
    """Print one line per kind of sample."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"webdataset {wds.__version__}, torch {torch.__version__}, numpy {np.__version__}, no workers")
    print(f"{'kind':<24}{'ours/s':>10}{'bare/s':>10}{'ratio':>8}{'CPU us ours':>13}{'CPU us bare':>13}")
    for kind, (suffix, make) in make_kinds().items():
        ours, bare, cpu_ours, cpu_bare = compare(suffix, make, options.samples, options.rounds)
        print(f"{kind:<24}{ours:>10.0f}{bare:>10.0f}{ours / bare:>8.2f}{cpu_ours:>13.1f}{cpu_bare:>13.1f}")


if __name__ == "__main__":
    main()
