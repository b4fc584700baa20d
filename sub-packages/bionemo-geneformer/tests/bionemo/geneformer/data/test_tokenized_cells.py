# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bionemo.core.errors import DataError, FormatError, MissingFileError
from bionemo.geneformer.data.tokenized_cells import FINGERPRINT_KEY, ArrowTokens, TokenLists, open_tokenized


CELLS = [[5, 9, 7], [], [6], [8, 8, 5, 7, 6], [9, 5]]
GENECORPUS = Path(__file__).parents[6] / "../shared/data/genecorpus_tokens_300.parquet"


def table(list_type=None, **columns):
    list_type = list_type or pa.list_(pa.int64())
    return pa.table({"input_ids": pa.array(CELLS, list_type), **columns})


def split(tokens, lengths):
    bounds = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    return [tokens[a:b].tolist() for a, b in pairwise(bounds)]


def cells_of_every_kind():
    chunked = pa.concat_tables([table().slice(0, 2), table().slice(2, 3)])
    return {
        "memory": TokenLists.from_lists(CELLS),
        "arrow": ArrowTokens(table(), "t"),
        "int32, large lists": ArrowTokens(table(pa.large_list(pa.int32())), "t"),
        "chunks": ArrowTokens(chunked, "t"),
        "slice": ArrowTokens(table().slice(0, 5), "t"),
    }


@pytest.mark.parametrize("kind", cells_of_every_kind())
def test_cells_come_in_the_order_asked_for(kind):
    cells = cells_of_every_kind()[kind]
    assert (len(cells), cells.max_length) == (5, 5)
    assert cells.lengths.dtype == np.int64
    assert cells.lengths.tolist() == [3, 0, 1, 5, 2]
    tokens, lengths = cells.read(np.array([3, 0, 3, 1, 4]))
    assert (tokens.dtype, lengths.dtype) == (np.int64, np.int64)
    assert split(tokens, lengths) == [CELLS[i] for i in (3, 0, 3, 1, 4)]
    assert cells.read(np.array([], dtype=np.int64))[0].tolist() == []
    for wrong in ([5], [-1]):
        with pytest.raises(IndexError, match="there are 5"):
            cells.read(np.array(wrong))


def test_a_parquet_file_opens_and_pickles_as_its_path(tmp_path):
    pq.write_table(table(cell_type=["a", "b", "a", "c", "a"]), tmp_path / "cells.parquet")
    cells = open_tokenized(tmp_path / "cells.parquet")
    assert split(*cells.read(np.arange(5))) == CELLS
    assert cells.column_names == ["input_ids", "cell_type"]
    assert cells.column("cell_type").tolist() == ["a", "b", "a", "c", "a"]
    categorical = table(cell_type=pa.array(["a", "b", "a", "c", "a"]).dictionary_encode())
    assert ArrowTokens(categorical, "t").column("cell_type").tolist() == ["a", "b", "a", "c", "a"]
    with pytest.raises(DataError, match="no column 'organ', found"):
        cells.column("organ")
    pickled = pickle.dumps(cells)
    assert len(pickled) < 300
    assert split(*pickle.loads(pickled).read(np.array([3]))) == [CELLS[3]]  # noqa: S301 our own bytes


def test_the_vocabulary_is_remembered_where_it_was_recorded():
    assert ArrowTokens(table(), "t").vocabulary_fingerprint is None
    recorded = table().replace_schema_metadata({FINGERPRINT_KEY: b"abc"})
    assert ArrowTokens(recorded, "t").vocabulary_fingerprint == "abc"


def test_what_holds_no_cells_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        open_tokenized(tmp_path / "missing.parquet")
    for name in ("folder", "text.csv"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "text.csv").write_text("a,b")
        with pytest.raises(FormatError, match="expected the folder of an Arrow dataset"):
            open_tokenized(tmp_path / name)
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(FormatError, match="no parquet file"):
        open_tokenized(tmp_path / "bad.parquet")
    with pytest.raises(FormatError, match="no column 'input_ids', found \\['x'\\]"):
        ArrowTokens(pa.table({"x": [1]}), "t")
    with pytest.raises(FormatError, match="expected lists of integers"):
        ArrowTokens(pa.table({"input_ids": [[0.5]]}), "t")
    with pytest.raises(DataError, match="1 cells have no tokens"):
        ArrowTokens(pa.table({"input_ids": [[1], None]}), "t")


def test_lists_in_memory_must_fit():
    with pytest.raises(DataError, match="lengths sum to 4, but there are 3 tokens"):
        TokenLists(np.arange(3), np.array([2, 2]))
    with pytest.raises(DataError, match="A cell has 5 tokens, more than max_length=4"):
        TokenLists.from_lists(CELLS, max_length=4)
    assert TokenLists.from_lists(CELLS, max_length=2048).max_length == 2048


@pytest.mark.skipif(not GENECORPUS.exists(), reason="the Genecorpus sample is not beside the project")
def test_the_genecorpus_sample():
    cells = open_tokenized(GENECORPUS)
    assert (len(cells), cells.max_length) == (300, 2048)
    tokens, lengths = cells.read(np.array([0, 299]))
    expected = pq.read_table(GENECORPUS).column("input_ids").to_pylist()
    assert split(tokens, lengths) == [expected[0], expected[299]]
