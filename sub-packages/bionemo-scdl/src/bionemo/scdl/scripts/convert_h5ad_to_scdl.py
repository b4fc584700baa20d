# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``convert_h5ad_to_scdl``: all h5ad files below a folder become one archive."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.command import run_command
from bionemo.core.config import option, parse
from bionemo.core.errors import ConfigError


PROG = "convert_h5ad_to_scdl"


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Convert all h5ad files below a folder into one archive."""

    data_path: Path = option(help="Folder with h5ad files, at any depth.")
    save_path: Path = option(help="Folder of the archive; it must not exist.")
    num_workers: int = option(4, help="Files converted at the same time, fewer where the memory bound demands it.")
    use_mp: bool = option(False, help="Processes instead of threads.")
    data_dtype: Literal["uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"] | None = option(
        None, help="Dtype of the values; None is float32."
    )
    paginated_load_cutoff: int = option(
        10_000,
        help="File size in MiB from which lost values are reported per block of rows. Memory is always bounded.",
    )
    load_block_row_size: int = option(1_000_000, help="Rows of such a block.")
    use_x_not_raw: bool = option(
        False,
        flag="--use-X-not-raw",
        help="Take X instead of the raw counts, raw.X.",
    )
    layer: str | None = option(None, help="Take this key of layers instead of raw.X or X.")
    genes: Literal["union", "intersection", "ragged"] = option(
        "union", help="One gene table for all files, or ragged: each file keeps its own column numbers."
    )
    gene_key: str | None = option(None, help="Column of var that identifies a gene; None is the index of var.")
    on_loss: Literal["error", "warn"] = option("error", help="What to do when the dtype changes values.")
    max_memory_mb: int = option(1_000, help="Memory that the conversion may take, in MB, all processes together.")
    resume: bool = option(False, help="Keep finished files when a run fails, and reuse those of an earlier run.")

    def __post_init__(self) -> None:
        if self.num_workers < 1:
            raise ConfigError(f"--num-workers is {self.num_workers}; it must be at least 1.")
        if self.max_memory_mb < 1:
            raise ConfigError(f"--max-memory-mb is {self.max_memory_mb}; it must be at least 1.")
        if self.layer is not None and self.use_x_not_raw:
            raise ConfigError("--layer and --use-X-not-raw exclude each other. Give one of them.")


def _run(argv: Sequence[str]) -> None:
    config = parse(ConvertConfig, argv, prog=PROG)
    if config.save_path.exists():
        raise ConfigError(f"--save-path {config.save_path}: exists already. Choose another name or remove it.")
    if not config.data_path.is_dir():
        raise ConfigError(f"--data-path {config.data_path}: no such folder.")
    from bionemo.scdl.io.single_cell_collection import SingleCellCollection

    parts_dir = config.save_path.with_name(config.save_path.name + ".parts")
    if parts_dir.exists() and not (parts_dir / "version.json").is_file():
        raise ConfigError(f"{parts_dir}: is needed for parts of the archive, but holds something else. Move it away.")
    if parts_dir.exists() and not config.resume:
        shutil.rmtree(parts_dir)  # left by a run that was killed
    try:
        collection = SingleCellCollection(parts_dir)
        collection.load_h5ad_multi(
            config.data_path,
            max_workers=config.num_workers,
            use_processes=config.use_mp,
            data_dtype=config.data_dtype,
            paginated_load_cutoff=config.paginated_load_cutoff,
            load_block_row_size=config.load_block_row_size,
            use_X_not_raw=config.use_x_not_raw,
            on_loss=config.on_loss,
            layer=config.layer,
            max_memory_mb=config.max_memory_mb,
            resume=config.resume,
        )
        elements = min(10 * 2**20, max(2**16, config.max_memory_mb * 1_000_000 // 256))
        collection.flatten(
            config.save_path,
            destroy_on_copy=True,
            genes=config.genes,
            gene_key=config.gene_key,
            extend_copy_size=elements,
        )
    except BaseException:
        if not config.resume:
            shutil.rmtree(parts_dir, ignore_errors=True)
        raise
    sys.stdout.write(f"{config.save_path}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, argv, prog=PROG)


if __name__ == "__main__":
    sys.exit(main())
