# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Made-up cells for the tests of training: counts with something to learn, their vocabulary, archives and tokens."""

import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from bionemo.testing.cells import Cells, make_cells
from bionemo.testing.hub_server import HubServer


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


GENES = tuple(f"ENSG{number:011d}" for number in range(296))
FAMILIES = {
    "V1": (("<pad>", "<mask>"), 2048, "gene_dictionaries_30m", "gc30M"),
    "V2": (("<pad>", "<mask>", "<cls>", "<eos>"), 4096, "", "gc104M"),
}


def write_repository(
    root: Path, family: str, *, missing: int = 0, model: str = "Geneformer-X", genes: Sequence[str] = GENES
) -> Path:
    """Write a repository as the published one is: a model's folder, and dictionaries with NumPy scalars."""
    transformers = pytest.importorskip("transformers")
    specials, positions, folder, corpus = FAMILIES[family]
    tokens = {token: np.int16(idx) for idx, token in enumerate((*specials, *genes[: len(genes) - missing]))}
    config = transformers.BertConfig(
        vocab_size=len(specials) + len(genes), hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=positions, hidden_act="relu",
    )  # fmt: skip
    transformers.BertForMaskedLM(config).save_pretrained(root / model)
    content = {
        "token_dictionary": tokens,
        "gene_median_dictionary": {gene: np.float64(1.5 + idx) for idx, gene in enumerate(genes)},
        "gene_name_id_dict": {"A1": genes[1], "B2": genes[2], "TP53": genes[3]},
        "ensembl_mapping_dict": {"ENSG_OLD": genes[3]},
    }
    dictionaries = root / "geneformer" / folder
    dictionaries.mkdir(parents=True)
    for stem, values in content.items():
        (dictionaries / f"{stem}_{corpus}.pkl").write_bytes(pickle.dumps(values))
    (root / "geneformer/unrelated.pkl").write_bytes(b"not needed")
    return root


@pytest.fixture
def write_geneformer_repository() -> Callable[..., Path]:
    return write_repository


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        server.use(monkeypatch, tmp_path / "cache")
        yield server
