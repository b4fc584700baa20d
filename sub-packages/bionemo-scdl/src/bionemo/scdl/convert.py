# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Convert files of cells by genes into one archive."""

import shutil
from pathlib import Path

from bionemo.core.errors import ConfigError
from bionemo.scdl.convert_config import ConvertConfig, check_flags
from bionemo.scdl.io.single_cell_collection import SingleCellCollection


def convert(config: ConvertConfig) -> Path:
    """Write the archive; parts of it lie beside it until it is complete.

    Returns:
        The folder of the archive.

    Raises:
        BionemoError: Bad input; the message names the file.
    """
    check_flags(config)
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
            find_counts=config.layer is None and not config.use_x_not_raw,
            feature_type=config.feature_type,
            sum_duplicates=True,
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
            unique_ids=True,
            sample_column=config.sample_column,
        )
    except BaseException:
        if not config.resume:
            shutil.rmtree(parts_dir, ignore_errors=True)
        raise
    return config.save_path
