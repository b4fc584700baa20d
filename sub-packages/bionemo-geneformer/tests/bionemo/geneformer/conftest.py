# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Made-up cells for the tests of training: counts with something to learn, their vocabulary, archives and tokens."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from bionemo.testing.cells import Cells, make_cells


class CellFiles(NamedTuple):
    """What a run reads; every path lies in one folder."""

    cells: Cells
    token_dictionary: Path
    gene_medians: Path
    data_dir: Path
    """train/ and val/, SCDL archives."""
    train_tokens: Path
    valid_tokens: Path


def write_parquet(path: Path, cells: list[np.ndarray], **columns) -> Path:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"input_ids": cells, "length": [len(cell) for cell in cells], **columns}), path)
    return path


def ranked(cells: Cells) -> list[np.ndarray]:
    """Tokens of V1: all medians are one, so the order is that of the counts; ties by token."""
    tokens = []
    for row in cells.counts:
        order = np.lexsort((row.indices, -row.data))
        tokens.append(row.indices[order].astype(np.int64) + 2)
    return tokens


@pytest.fixture(scope="session")
def cell_files(tmp_path_factory: pytest.TempPathFactory) -> CellFiles:
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset

    folder = tmp_path_factory.mktemp("cells")
    cells = make_cells(120, num_genes=60, counts_per_cell=150)
    dictionary = {"<pad>": 0, "<mask>": 1, **{gene: number + 2 for number, gene in enumerate(cells.gene_ids)}}
    (folder / "tokens.json").write_text(json.dumps(dictionary))
    (folder / "medians.json").write_text(json.dumps(dict.fromkeys(cells.gene_ids, 1.0)))
    adata = cells.to_anndata()
    for name, part in (("train", adata[:96]), ("val", adata[96:])):
        part.copy().write_h5ad(folder / f"{name}.h5ad")
        SingleCellMemMapDataset.from_h5ad(folder / f"{name}.h5ad", folder / "archives" / name, use_X_not_raw=True)
    tokens = ranked(cells)
    return CellFiles(
        cells,
        folder / "tokens.json",
        folder / "medians.json",
        folder / "archives",
        write_parquet(folder / "train.parquet", tokens[:96]),
        write_parquet(folder / "valid.parquet", tokens[96:]),
    )
