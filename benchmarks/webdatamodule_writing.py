# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Speed of pickles_to_tars against the `tar` command and webdataset's TarWriter, on the same files in the same run.

    python benchmarks/webdatamodule_writing.py [--megabytes 64] [--rounds 9]

`tar` leaves its output in memory, ours is on the disk when the call returns; so tar is measured as it is and with
`sync FILE` behind it. The target is at least 0.80 of tar's speed.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import webdataset as wds

from bionemo.webdatamodule.utils import pickles_to_tars


def write_with_webdataset(files: Path, names: list[str], tar: Path) -> None:
    """Write one tar as webdataset's documentation does."""
    with wds.TarWriter(str(tar)) as writer:
        for name in names:
            writer.write({"__key__": name, "bin": (files / f"{name}.bin").read_bytes()})


def seconds(write: Callable[[], object], output: Path) -> float:
    """Wall time of one writer over a fresh output."""
    if output.is_dir():
        shutil.rmtree(output)
    output.unlink(missing_ok=True)
    start = time.perf_counter()
    write()
    return time.perf_counter() - start


def compare(size_bytes: int, count: int, rounds: int) -> dict[str, float]:
    """Measure the writers in turns for ``count`` files of one size; median seconds by writer."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files, tar = root / "files", root / "peer.tar"
        files.mkdir()
        names = [f"sample{i:06d}" for i in range(count)]
        for name in names:
            (files / f"{name}.bin").write_bytes(os.urandom(size_bytes))
        listing = root / "names"
        listing.write_text("".join(f"{name}.bin\n" for name in names))
        command = ["tar", "--create", "--file", str(tar), "--directory", str(files), "--files-from", str(listing)]

        def tar_and_sync() -> None:
            subprocess.run(command, check=True)
            subprocess.run(["sync", str(tar)], check=True)

        writers: dict[str, tuple[Callable[[], object], Path]] = {
            "tar": (lambda: subprocess.run(command, check=True), tar),
            "tar+sync": (tar_and_sync, tar),
            "webdataset": (lambda: write_with_webdataset(files, names, tar), tar),
            "ours": (lambda: pickles_to_tars(str(files), names, "bin", str(root / "ours"), "shard"), root / "ours"),
        }
        os.sync()  # the inputs, whose writing would disturb the first rounds
        times = [{writer: seconds(*work) for writer, work in writers.items()} for _ in range(rounds)]
        return {writer: statistics.median(each[writer] for each in times) for writer in writers}


def main() -> None:
    """Print one line per size of file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=64, help="size of each data set")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(f"{'file size':>10}{'files':>8}{'ours MB/s':>11}{'tar':>8}{'tar+sync':>10}{'webdataset':>12}   ratios")
    for size in (2_000, 20_000, 1_000_000):
        count = max(1, min(20_000, options.megabytes * 1_000_000 // size))
        medians = compare(size, count, options.rounds)
        rate = {writer: count * size / 1e6 / value for writer, value in medians.items()}
        ratios = ", ".join(f"{rate['ours'] / rate[peer]:.2f} to {peer}" for peer in ("tar", "tar+sync", "webdataset"))
        print(
            f"{size:>10}{count:>8}{rate['ours']:>11.0f}{rate['tar']:>8.0f}{rate['tar+sync']:>10.0f}"
            f"{rate['webdataset']:>12.0f}   {ratios}"
        )


if __name__ == "__main__":
    main()
