# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Loading and converting speed of bionemo-scdl against its peers, on one generated data set, side by side.

    python benchmarks/scdl_loading.py --folder /big/disk/scdl [--peer-python /venv/with/scdl-0.1.3/bin/python]

Peers: the raw memory-map bound (the same rows gathered by NumPy from the two maps, no DataLoader), AnnData in memory
and backed, scDataset over AnnData backed, and the released bionemo-scdl 0.1.3, which needs an environment of its own
(``pip install bionemo-scdl==0.1.3 scDataset``). Loading is counted in rows per CPU-second of the whole process tree,
conversion and cold reads in wall time. A path that ends in "read" also adds up every value and column of each batch,
so that no cost of a batch can hide in its first use. Each figure is the median of several rounds, in turns within one
run.

The data: 200,000 cells, 20,000 genes, about 1,400 stored values per cell (2.3 GB as h5ad); made on the first call.
"""

import argparse
import functools
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


BATCH_SIZE = 128
NUM_BATCHES = 800
ROUNDS = 5
HERE = (
    "raw bound, random",
    "raw bound, sequential",
    "ours, random",
    "ours, sequential",
    "raw bound, random, read",
    "raw bound, sequential, read",
    "ours, random, read",
    "ours, sequential, read",
    "ours, block-shuffled",
    "ours, block-shuffled, cold",
    "ours, random, 1 worker",
    "ours, random, 2 workers",
    "ours, random, 1 thread",
    "ours, random, 2 threads",
    "AnnData in memory, random",
    "AnnData backed, random",
)
IN_PEER_ENVIRONMENT = (
    "released, random",
    "released, sequential",
    "released, random, 1 worker",
    "released, random, 2 workers",
    "scDataset, block-shuffled",
)
PEERS = {
    "bound": "raw bound, random",
    "0.1.3": "released, random",
    "AnnData in memory": "AnnData in memory, random",
    "AnnData backed": "AnnData backed, random",
    "scDataset": "scDataset, block-shuffled",
}


def make_h5ad(path: Path, num_cells: int, num_genes: int, values_per_cell: int, seed: int = 42) -> None:
    """Write counts like those of cells as raw.X, block by block, in the layout that anndata writes."""
    import anndata
    import h5py
    import pandas as pd

    rng = np.random.default_rng(seed)
    lengths = np.maximum(1, rng.normal(values_per_cell, values_per_cell / 4, num_cells).astype(np.int64))
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    obs = pd.DataFrame(
        {"cell_type": pd.Categorical(rng.choice(list("ABCDEFGH"), num_cells))},
        index=[f"cell{i}" for i in range(num_cells)],
    )
    var = pd.DataFrame({"feature_id": [f"ENSG{i:011d}" for i in range(num_genes)]})
    var.index = var["feature_id"].to_numpy()
    temporary = path.with_suffix(".tmp")
    anndata.AnnData(obs=obs, var=var).write_h5ad(temporary)
    with h5py.File(temporary, "r+") as file:
        raw = file.create_group("raw")
        raw.attrs.update({"encoding-type": "raw", "encoding-version": "0.1.0"})
        file.copy("var", raw)
        raw.create_group("varm").attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})
        matrix = raw.create_group("X")
        matrix.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (num_cells, num_genes)}
        )
        # As SciPy and so anndata would: both index arrays of one type.
        matrix.create_dataset("indptr", data=indptr.astype(np.int32), maxshape=(None,))
        data = matrix.create_dataset("data", (int(indptr[-1]),), np.float32, maxshape=(None,), chunks=True)
        indices = matrix.create_dataset("indices", (int(indptr[-1]),), np.int32, maxshape=(None,), chunks=True)
        for start in range(0, num_cells, 5_000):
            part = lengths[start : start + 5_000]
            size = int(part.sum())
            # Sorted distinct columns per row: steps of at least one, scaled to the width.
            steps = rng.integers(1, 2 * num_genes // values_per_cell - 2, size)
            ends = np.cumsum(part) - 1
            cumulative = np.cumsum(steps)
            offsets = np.repeat(np.concatenate([[0], cumulative[ends[:-1]]]), part)
            columns = (cumulative - offsets - 1) % num_genes
            where = slice(int(indptr[start]), int(indptr[start]) + size)
            indices[where] = columns
            data[where] = rng.geometric(0.4, size)
    temporary.rename(path)


# -- measuring -------------------------------------------------------------------------------------------


def cpu_seconds() -> float:
    """CPU time of this process and of its finished children."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def consume(batches: Iterable[Any], *, read: bool = False) -> dict[str, float]:
    """Go through batches, on request reading every value and column once; rows are counted by the first dimension."""
    cpu, wall, rows = cpu_seconds(), time.perf_counter(), 0
    for batch in batches:
        rows += batch.shape[0]
        if read:
            batch.values().sum(), batch.col_indices().sum()
    return {"rows": rows, "cpu_s": cpu_seconds() - cpu, "wall_s": time.perf_counter() - wall}


class PeakMemory:
    """Greatest resident memory of a process and its children, sampled."""

    def __init__(self, pid: int) -> None:
        self.pid, self.peak, self._stop = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        while not self._stop.wait(0.02):
            try:
                root = psutil.Process(self.pid)
                total = sum(p.memory_info().rss for p in [root, *root.children(recursive=True)])
            except psutil.Error:
                continue
            self.peak = max(self.peak, total)


def drop_from_cache(folder: Path) -> None:
    """Write back and forget the cached pages of all files of a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def disk_bytes_read() -> int:
    """Bytes that this process caused to be read from the disk."""
    return int(Path("/proc/self/io").read_text(encoding="ascii").split("read_bytes: ")[1].split()[0])


def random_batches(num_rows: int, seed: int) -> list[list[int]]:
    """Row numbers of random batches without repeats."""
    order = np.random.default_rng(seed).permutation(num_rows)[: NUM_BATCHES * BATCH_SIZE]
    return [batch.tolist() for batch in np.array_split(order, max(1, order.size // BATCH_SIZE))]


# -- the paths -------------------------------------------------------------------------------------------


@functools.cache
def open_maps(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three arrays of an archive; kept open, so that a second pass finds its pages mapped."""
    dtypes = {"data.npy": np.float32, "col_ptr.npy": np.uint16, "row_ptr.npy": np.uint32}
    data, columns, pointers = (np.memmap(folder / name, dtype, "r").view(np.ndarray) for name, dtype in dtypes.items())
    return data, columns, pointers


@functools.cache
def open_archive(folder: Path) -> Any:
    """The archive as a dataset, ours or the released one; kept open likewise."""
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset

    return SingleCellMemMapDataset(str(folder))


def raw_bound(folder: Path, batches: list[Any]) -> Iterator[Any]:
    """Rows from the two maps into fresh arrays, row by row, as plainly as NumPy allows."""
    import torch

    data, columns, pointers = open_maps(folder)
    for batch in batches:
        rows = np.asarray(batch)
        starts, ends = pointers[rows].astype(np.int64), pointers[rows + 1].astype(np.int64)
        row_ptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(ends - starts, out=row_ptr[1:])
        values, cols = np.empty(row_ptr[-1], np.float32), np.empty(row_ptr[-1], np.int32)
        bounds = row_ptr.tolist()
        for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            values[bounds[i] : bounds[i + 1]] = data[start:end]
            cols[bounds[i] : bounds[i + 1]] = columns[start:end]
        parts = [torch.from_numpy(array) for array in (row_ptr, cols, values)]
        yield torch.sparse_csr_tensor(*parts, (len(rows), 20_000), check_invariants=False)


def scdl_batches(folder: Path, sampler: Any, *, workers: int = 0) -> Iterable[Any]:
    """An archive through DataLoader and the established collate; works with 0.1.3 as well."""
    from torch.utils.data import DataLoader

    from bionemo.scdl.util.torch_dataloader_utils import collate_sparse_matrix_batch

    return DataLoader(
        open_archive(folder), batch_sampler=sampler, collate_fn=collate_sparse_matrix_batch, num_workers=workers
    )


def sequential(num_rows: int) -> list[list[int]]:
    """Batches of consecutive rows from the start."""
    stop = min(num_rows, NUM_BATCHES * BATCH_SIZE)
    return [list(range(start, min(start + BATCH_SIZE, stop))) for start in range(0, stop, BATCH_SIZE)]


def ours_block_shuffled(folder: Path, *, limit: int | None) -> Iterator[Any]:
    """Our sampler: blocks of 64 rows, pool of 8,192."""
    from bionemo.scdl.sampling.block_shuffle import BlockShuffleSampler

    sampler = BlockShuffleSampler(open_archive(folder), batch_size=BATCH_SIZE)
    for number, batch in enumerate(scdl_batches(folder, sampler)):
        if limit is not None and number >= limit:
            return
        yield batch


def ours_prefetched(folder: Path, batches: list[Any], num_threads: int) -> Iterable[Any]:
    """Our threads."""
    from bionemo.scdl.sampling.prefetch_loader import PrefetchLoader
    from bionemo.scdl.util.torch_dataloader_utils import collate_sparse_matrix_batch

    return PrefetchLoader(open_archive(folder), batches, collate_sparse_matrix_batch, num_threads=num_threads)


def as_csr(matrix: Any) -> Any:
    """A SciPy CSR matrix as a torch one, as an AnnData user would write it."""
    import torch

    arrays = (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data)
    parts = [torch.from_numpy(array) for array in arrays]
    return torch.sparse_csr_tensor(*parts, matrix.shape, check_invariants=False)


def anndata_batches(adata: Any, batches: list[Any]) -> Iterator[Any]:
    """Rows of an AnnData object, in memory or backed."""
    matrix = adata.raw.X
    for batch in batches:
        yield as_csr(matrix[np.sort(batch) if adata.isbacked else np.asarray(batch)])


class BackedRows:
    """A backed matrix with the length that scDataset asks for."""

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def __getitem__(self, rows: Any) -> Any:
        return self.matrix[rows]


def scdataset_batches(h5ad: Path, fetch_factor: int) -> Iterator[Any]:
    """ScDataset's block-shuffled loading over the backed matrix."""
    import anndata
    from scdataset import BlockShuffling, scDataset

    matrix = anndata.read_h5ad(h5ad, backed="r").raw.X
    loader = scDataset(
        BackedRows(matrix), BlockShuffling(block_size=64), batch_size=BATCH_SIZE, fetch_factor=fetch_factor
    )
    for batch in loader:
        yield as_csr(batch)


def measure(name: str, folder: Path, round_number: int) -> dict[str, float]:
    """Run one path once, in this process."""
    import torch

    torch.set_num_threads(1)
    h5ad, archive = folder / "cells.h5ad", folder / ("released" if name.startswith("released") else "ours")
    num_rows = json.loads((archive / "metadata.json").read_text(encoding="utf-8"))["num_rows"]
    batches = random_batches(num_rows, round_number)
    paths: dict[str, Callable[[], Iterable[Any]]] = {
        "raw bound, random": lambda: raw_bound(archive, batches),
        "raw bound, sequential": lambda: raw_bound(archive, sequential(num_rows)),
        "ours, random": lambda: scdl_batches(archive, batches),
        "ours, sequential": lambda: scdl_batches(archive, sequential(num_rows)),
        "ours, block-shuffled": lambda: ours_block_shuffled(archive, limit=NUM_BATCHES),
        "ours, block-shuffled, cold": lambda: ours_block_shuffled(archive, limit=None),
        "ours, random, 1 worker": lambda: scdl_batches(archive, batches, workers=1),
        "ours, random, 2 workers": lambda: scdl_batches(archive, batches, workers=2),
        "ours, random, 1 thread": lambda: ours_prefetched(archive, batches, 1),
        "ours, random, 2 threads": lambda: ours_prefetched(archive, batches, 2),
        "released, random": lambda: scdl_batches(archive, batches),
        "released, sequential": lambda: scdl_batches(archive, sequential(num_rows)),
        "released, random, 1 worker": lambda: scdl_batches(archive, batches, workers=1),
        "released, random, 2 workers": lambda: scdl_batches(archive, batches, workers=2),
    }
    if name.startswith("AnnData"):
        import anndata

        adata = anndata.read_h5ad(h5ad, backed="r" if "backed" in name else None)
        few = batches[: len(batches) // (40 if "backed" in name else 1)]
        return consume(anndata_batches(adata, few))
    if name.startswith("scDataset"):
        return consume(batch for batch, _ in zip(scdataset_batches(h5ad, 64), range(NUM_BATCHES // 4), strict=False))
    if name.endswith("cold"):
        drop_from_cache(archive)
        before = disk_bytes_read()
        result = consume(paths[name]())
        size = sum((archive / file).stat().st_size for file in ("data.npy", "col_ptr.npy"))
        return result | {"amplification": (disk_bytes_read() - before) / (size * result["rows"] / num_rows)}
    path = paths[name.removesuffix(", read")]
    if "worker" not in name:
        consume(path())  # maps the pages that the measured pass uses
    return consume(path(), read=name.endswith(", read"))


def convert(folder: Path, which: str) -> None:
    """Convert the file into an archive with the package of this environment."""
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset

    SingleCellMemMapDataset(str(folder / which), h5ad_path=str(folder / "cells.h5ad"))


# -- the run ---------------------------------------------------------------------------------------------


def in_child(python: str, folder: Path, *arguments: str) -> tuple[dict[str, float], float, int]:
    """Run a part of this file in a fresh process: its result, wall seconds and peak memory."""
    command = [python, str(Path(__file__).resolve()), "--folder", str(folder), *arguments]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with PeakMemory(process.pid) as memory:
        output, errors = process.communicate()
    wall_s = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{errors}")
    lines = output.strip().splitlines()
    return (json.loads(lines[-1]) if lines else {}), wall_s, memory.peak


def compare(folder: Path, peer_python: str | None, rounds: int, *, skip_conversion: bool) -> dict[str, Any]:
    """Measure every path in turns; medians over the rounds."""
    runs: dict[str, list[dict[str, float]]] = {}
    makers = [("ours", sys.executable)] + ([("released", peer_python)] if peer_python else [])
    for _ in range(0 if skip_conversion else rounds):
        for which, python in makers:
            shutil.rmtree(folder / which, ignore_errors=True)
            in_child(sys.executable, folder, "--warm")  # both start with the file in the page cache
            _, wall_s, peak = in_child(python, folder, "--convert", which)
            runs.setdefault(f"{which}, convert", []).append({"wall_s": wall_s, "peak_mb": peak / 1e6})
    in_child(sys.executable, folder, "--warm")  # for AnnData and scDataset
    for number in range(rounds):
        for name in [*HERE, *(IN_PEER_ENVIRONMENT if peer_python else [])]:
            python = peer_python if name in IN_PEER_ENVIRONMENT else sys.executable
            result, _, _ = in_child(str(python), folder, "--measure", name, "--round", str(number))
            rows = result.pop("rows")
            rates = {"rows_per_cpu_s": rows / result.pop("cpu_s"), "rows_per_s": rows / result.pop("wall_s")}
            runs.setdefault(name, []).append(rates | result)
    return {
        name: {key: statistics.median(run[key] for run in measured) for key in measured[0]}
        for name, measured in runs.items()
    }


def show(results: dict[str, Any]) -> None:
    """Print what was measured where, and tables with the ratios to every peer."""
    from importlib.metadata import version

    cpu = next(
        (line.split(": ")[1].strip() for line in Path("/proc/cpuinfo").open(encoding="utf-8") if "model name" in line),
        platform.processor(),
    )
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy", "anndata"))
    print(f"{os.cpu_count()} cores of {cpu}; Python {platform.python_version()}, {versions}; {time.strftime('%F')}\n")
    peers = {label: results[name]["rows_per_cpu_s"] for label, name in PEERS.items() if name in results}
    print(f"| path | rows/CPU-s | rows/s | {' | '.join(f'x {label}' for label in peers)} |")
    print("|---" * (3 + len(peers)) + "|")
    for name, result in results.items():
        if "rows_per_cpu_s" in result:
            rate, extra = result["rows_per_cpu_s"], ""
            if "amplification" in result:
                extra = f" (bytes read / bytes used {result['amplification']:.2f})"
            ratios = " | ".join(f"{rate / peer:.2f}" for peer in peers.values())
            print(f"| {name}{extra} | {rate:,.0f} | {result['rows_per_s']:,.0f} | {ratios} |")
    print("\n| conversion | s | peak MB |\n|---|---|---|")
    for name, result in results.items():
        if "peak_mb" in result:
            print(f"| {name} | {result['wall_s']:.1f} | {result['peak_mb']:,.0f} |")
    pairs = [
        (f"ours, {order}", f"raw bound, {order}", "rows_per_cpu_s")
        for order in ("random", "sequential", "random, read", "sequential, read")
    ]
    pairs += [(f"ours, random, {what}", "ours, random", "rows_per_s") for what in ("2 threads", "2 workers")]
    pairs += [("ours, random, 2 workers", "ours, random, 1 worker", "rows_per_s")]
    for name, other, key in pairs:
        print(f"\n{name} / {other}, {key}: {results[name][key] / results[other][key]:.2f}")


def draw(results: dict[str, Any], path: Path) -> None:
    """Bars of rows per CPU-second: ours blue, peers dark, the raw bound light."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rates = {name: r["rows_per_cpu_s"] / 1e3 for name, r in results.items() if "rows_per_cpu_s" in r}
    names = sorted(rates, key=lambda name: rates[name])
    colours = {"ours": "#2a6f97", "raw": "#d0d0d0"}
    figure, axes = plt.subplots(figsize=(7.5, 0.3 * len(names) + 0.7), layout="constrained")
    bars = axes.barh(
        [name.replace("released", "0.1.3") for name in names],
        [rates[name] for name in names],
        color=[colours.get(name.split(",")[0].split()[0], "#8a8a8a") for name in names],
    )
    axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
    axes.set_xlabel("thousand rows per CPU-second")
    axes.margins(x=0.08, y=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Parse, make the data, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the data go; 8 GB free")
    parser.add_argument("--peer-python", help="interpreter with bionemo-scdl 0.1.3 and scDataset")
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--skip-conversion", action="store_true", help="use archives of an earlier run")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    parser.add_argument("--plot", type=Path, help="draw the figures as PNG")
    for hidden in ("--measure", "--convert"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--warm", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--round", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder: Path = options.folder
    if options.warm:
        with (folder / "cells.h5ad").open("rb") as file:
            while file.read(1 << 24):
                pass
    elif options.convert:
        convert(folder, options.convert)
    elif options.measure:
        print(json.dumps(measure(options.measure, folder, options.round)))
    else:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "cells.h5ad").exists():
            make_h5ad(folder / "cells.h5ad", options.cells, 20_000, 1_400)
        results = compare(folder, options.peer_python, options.rounds, skip_conversion=options.skip_conversion)
        show(results)
        if options.plot:
            draw(results, options.plot)
        if options.output:
            options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
