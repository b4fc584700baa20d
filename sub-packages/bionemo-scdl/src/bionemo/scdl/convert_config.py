# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``convert_h5ad_to_scdl``."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bionemo.core.config import option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.exclusive_settings import Exclusive
from bionemo.core.flag_groups import SharedFlags
from bionemo.scdl.counts.feature_types import GENE_EXPRESSION


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Convert all h5ad files and zarr stores below a folder, or one file, into one archive of counts."""

    exclusive: ClassVar[Exclusive] = (("layer", ("use_x_not_raw",)),)

    data_path: Path = option(
        help="Folder with h5ad files or zarr stores, at any depth; or one of these, a 10x .h5 file or an mtx folder."
    )
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
        help="Take X of every file, counts or not. Default: what holds counts: raw.X, else X, else the layer counts.",
    )
    layer: str | None = option(None, help="Take this key of layers of every file, counts or not.")
    feature_type: str = option(
        GENE_EXPRESSION, help="Feature type to take where var has a column feature_types; 'all' for all."
    )
    genes: Literal["union", "intersection", "ragged"] = option(
        "union", help="One gene table for all files, or ragged: each file keeps its own column numbers."
    )
    gene_key: str | None = option(None, help="Column of var that identifies a gene; None is the index of var.")
    sample_column: str | None = option(
        None,
        help="Column of obs whose value is put in front of each cell id; default: the file's name where ids repeat.",
    )
    on_loss: Literal["error", "warn"] = option("error", help="What to do when the dtype changes values.")
    max_memory_mb: int = option_like(SharedFlags, "max_memory_mb", 1_000)
    resume: bool = option(False, help="Keep finished files when a run fails, and reuse those of an earlier run.")

    def __post_init__(self) -> None:
        if self.num_workers < 1:
            raise ConfigError(f"--num-workers is {self.num_workers}; it must be at least 1.")
        if self.max_memory_mb < 1:
            raise ConfigError(f"--max-memory-mb is {self.max_memory_mb}; it must be at least 1.")
        if self.layer is not None and self.use_x_not_raw:
            raise ConfigError("--layer and --use-X-not-raw exclude each other. Give one of them.")


def check_flags(config: ConvertConfig) -> None:
    """Refuse a folder that is missing and an archive that exists.

    Raises:
        ConfigError: The message names the flag.
    """
    if config.save_path.exists():
        raise ConfigError(f"--save-path {config.save_path}: exists already. Choose another name or remove it.")
    if not config.data_path.exists():
        raise ConfigError(f"--data-path {config.data_path}: no such folder or file.")
