# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Cells with their metadata, whatever file they are in."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bionemo.core.errors import DataError
from bionemo.geneformer.data.count_sources import open_adata
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.open_cells import Cells, CountReading, open_cells
from bionemo.geneformer.data.tokenize_on_read import TokenizedOnRead
from bionemo.geneformer.data.tokenized_cells import TokenLists
from bionemo.geneformer.data.write_tokenized import TokenizeOptions, write_tokenized
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import VARIANTS
from bionemo.testing.cells import make_cells


COUNTS = make_cells(8, num_genes=30, counts_per_cell=50)
MEDIANS = dict.fromkeys(COUNTS.gene_ids, 1.0)
DICTIONARIES = Dictionaries(
    GeneTokenizer.from_medians_and_genes_dicts(MEDIANS, {}, variant=VARIANTS["V1"]), MEDIANS, {}
)
OBS = {
    "donor": ["A", None, "B", "A", "B", "A", "B", "A"],
    "age": [30, 31, None, 33, 34, 35, 36, 37],
    "good": [True, False] * 4,
}


def write_h5ad(path: Path) -> Path:
    adata = COUNTS.to_anndata()
    frame = pd.DataFrame(OBS, index=adata.obs.index)
    adata.obs = frame.assign(donor=frame["donor"].astype("category"), age=frame["age"].astype(float))
    adata.write_h5ad(path)
    return path


def write_tokens(path: Path, *, as_dictionary: bool = False) -> Path:
    columns = {name: pa.array(values) for name, values in OBS.items()}
    if as_dictionary:
        columns["donor"] = columns["donor"].dictionary_encode()
    ids = [f"cell{number}" for number in range(8)]
    pq.write_table(pa.table({"input_ids": [[2, 3]] * 7 + [[]], **columns, "cell_id": ids}), path)
    return path


@pytest.mark.parametrize("kind", ["h5ad", "tokens", "categories"])
def test_metadata_are_the_same_from_counts_and_tokens(kind: str, tmp_path: Path) -> None:
    if kind == "h5ad":
        path = write_h5ad(tmp_path / "cells.h5ad")
    else:
        path = write_tokens(tmp_path / "cells.parquet", as_dictionary=kind == "categories")
    cells = open_cells(path, DICTIONARIES, CountReading(empty_cells="skip"))
    assert cells.ids.tolist() == [f"cell{number}" for number in range(8)]
    assert cells.texts("donor").tolist() == ["A", "", "B", "A", "B", "A", "B", "A"]
    assert [float(age) if age else None for age in cells.texts("age").tolist()] == OBS["age"]
    assert cells.texts("good").tolist() == ["True", "False"] * 4
    assert cells.indices.tolist() == list(range(8 if kind == "h5ad" else 7))
    assert len(cells.obs) == len(cells.tokens) == 8
    with pytest.raises(DataError, match=r"no obs column 'dono', found \['donor', 'age', 'good'"):
        cells.texts("dono")
    chosen = open_cells(path, DICTIONARIES, CountReading(empty_cells="skip"), id_column="good")
    assert chosen.ids.tolist() == ["True", "False"] * 4


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_barcodes_of_several_samples_are_told_apart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata = COUNTS.to_anndata()
    adata.obs.index = ["AAC", "AAG", "AAT", "AAC", "AAG", "CCA", "CCG", "CCT"]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    expected = ["AAC#0", "AAG#1", "AAT", "AAC#3", "AAG#4", "CCA", "CCG", "CCT"]
    assert open_cells(tmp_path / "cells.h5ad", DICTIONARIES, CountReading()).ids.tolist() == expected
    assert "cells.h5ad: 4 cells share their id with another cell" in caplog.text
    # Tokens keep the numbers of the rows in the file, although a cell before them is left out.
    adata.obs["filter_pass"] = [0, *[1] * 7]
    source = TokenizedOnRead(open_adata(adata), DICTIONARIES)
    tokens = write_tokenized(source, tmp_path / "tokens", TokenizeOptions(filter_pass=True))
    assert open_cells(tokens, DICTIONARIES, CountReading()).ids.tolist() == expected[1:]
    # Tokens of earlier versions hold the barcodes as they were.
    monkeypatch.setattr("bionemo.geneformer.data.write_tokenized.distinct_ids", lambda ids, _: ids)
    old = write_tokenized(source, tmp_path / "old", TokenizeOptions(filter_pass=False))
    assert open_cells(old, DICTIONARIES, CountReading()).ids.tolist() == expected


def test_metadata_are_read_when_they_are_asked_for() -> None:
    calls = []

    def read_obs() -> pd.DataFrame:
        calls.append(1)
        return pd.DataFrame({"x": [1, 2]})

    cells = Cells(TokenLists.from_lists([[1], [2]]), read_obs)
    assert cells.indices.tolist() == [0, 1]
    assert not calls
    assert cells.texts("x").tolist() == ["1", "2"]
    np.testing.assert_array_equal(cells.ids, ["0", "1"])
    assert len(calls) == 1
