# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bionemo.core.errors import ConfigError, DataError, DataFileError, FormatError
from bionemo.core.files import is_leftover
from bionemo.geneformer.data.count_sources import open_adata
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.tokenize_on_read import TokenizedOnRead
from bionemo.geneformer.data.tokenized_cells import open_tokenized
from bionemo.geneformer.data.write_tokenized import TokenizeOptions, write_tokenized
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import V2
from bionemo.testing.cells import make_cells
from bionemo.testing.kills import kill_runner


PRELOAD = (
    "bionemo.geneformer.perturbation.run", "bionemo.testing.multiprocess", "matplotlib.backends.backend_agg",
    "matplotlib.figure", "pyarrow.parquet", "pytest", "scipy.stats",
)  # fmt: skip
"""Of all kill tests of the package: they share one fork server."""
CELLS = make_cells(90, 60, seed=3)
MEDIANS = dict.fromkeys(CELLS.gene_ids[:50], 2.0)
DICTIONARIES = Dictionaries(GeneTokenizer.from_medians_and_genes_dicts(MEDIANS, {}, variant=V2), MEDIANS, {})


def make_adata():
    adata = CELLS.to_anndata()
    adata.obs["cell_type"] = pd.Categorical(adata.obs["cell_type"])
    adata.obs["n_counts"] = CELLS.counts.sum(axis=1).A1.astype(np.int64)
    adata.obs["age"] = np.where(np.arange(90) % 7 == 0, np.nan, np.arange(90) / 2)
    adata.obs["is_good"] = np.arange(90) % 2 == 0
    adata.obs["donor"] = [None if i == 5 else f"d{i % 3}" for i in range(90)]
    return adata


def cells_of(adata=None):
    return TokenizedOnRead(open_adata(make_adata() if adata is None else adata), DICTIONARIES)


def lists(path):
    cells = open_tokenized(path)
    tokens, lengths = cells.read(np.arange(len(cells)))
    return [part.tolist() for part in np.split(tokens, np.cumsum(lengths)[:-1])]


def expected_lists(adata=None):
    cells = cells_of(adata)
    tokens, lengths = cells.read(np.arange(len(cells)))
    return [part.tolist() for part in np.split(tokens, np.cumsum(lengths)[:-1])]


@pytest.fixture
def written(tmp_path):
    options = TokenizeOptions(obs_columns=("cell_type", "n_counts", "age", "is_good", "donor"), cells_per_shard=40)
    return write_tokenized(cells_of(), tmp_path / "tokens", options)


def test_the_dataset_holds_tokens_lengths_ids_and_the_columns_chosen(written):
    cells = open_tokenized(written)
    assert lists(written) == expected_lists()
    assert cells.column_names == ["input_ids", "length", "cell_id", "cell_type", "n_counts", "age", "is_good", "donor"]
    assert cells.column("length").tolist() == cells.lengths.tolist()
    assert cells.column("cell_id").tolist() == [f"cell{i}" for i in range(90)]
    assert cells.column("cell_type").tolist() == [f"type{t}" for t in CELLS.cell_types]
    assert cells.column("n_counts").tolist() == CELLS.counts.sum(axis=1).A1.tolist()
    np.testing.assert_array_equal(cells.column("age"), make_adata().obs["age"])
    assert cells.column("is_good").tolist() == [i % 2 == 0 for i in range(90)]
    assert cells.column("donor").tolist() == list(make_adata().obs["donor"])
    assert cells.vocabulary_fingerprint == DICTIONARIES.tokenizer.fingerprint
    names = sorted(path.name for path in written.iterdir())
    shards = [f"data-0000{i}-of-00003.arrow" for i in range(3)]
    assert names == [*shards, "dataset_info.json", "geneformer.vocab", "report.json", "state.json"]
    assert GeneTokenizer.from_vocab_file(written / "geneformer.vocab").vocab == DICTIONARIES.tokenizer.vocab


def test_hugging_face_datasets_reads_it(written):
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_from_disk(str(written))
    assert loaded["input_ids"][:] == expected_lists()
    assert loaded.column_names == open_tokenized(written).column_names
    assert loaded.features["input_ids"].feature.dtype == "int32"
    assert loaded[7]["cell_type"] == f"type{CELLS.cell_types[7]}"
    assert loaded.filter(lambda row: row["length"] > 40).num_rows == sum(len(c) > 40 for c in expected_lists())


def test_and_what_it_writes_is_read_here(tmp_path):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"input_ids": expected_lists(), "length": [len(c) for c in expected_lists()]})
    table.save_to_disk(str(tmp_path / "theirs"), num_shards=2)
    assert lists(tmp_path / "theirs") == expected_lists()
    assert open_tokenized(tmp_path / "theirs").vocabulary_fingerprint is None


def test_the_report_says_what_was_left_out(tmp_path):
    adata = make_adata()
    dense = CELLS.counts.toarray()
    dense[[4, 41]] = 0
    adata.X = dense
    path = write_tokenized(cells_of(adata), tmp_path / "t", TokenizeOptions(empty_cells="skip", cells_per_shard=30))
    assert lists(path) == [tokens for i, tokens in enumerate(expected_lists(adata)) if i not in (4, 41)]
    assert open_tokenized(path).column("cell_id").tolist() == [f"cell{i}" for i in range(90) if i not in (4, 41)]
    report = json.loads((path / "report.json").read_text())
    assert report["num_cells"] == 88
    assert report["num_empty_cells_left_out"] == 2
    assert report["num_tokens"] == sum(map(len, lists(path)))
    assert report["share_of_counts_known"] == pytest.approx(dense[:, :50].sum() / dense.sum())
    assert report["gene_tables"][0]["dropped"] == CELLS.gene_ids[50:]
    assert (report["gene_tables"][0]["num_known"], report["gene_tables"][0]["id_column"]) == (50, "feature_id")


def test_cells_that_did_not_pass_the_filter_are_left_out(tmp_path):
    adata = make_adata()
    adata.obs["filter_pass"] = (np.arange(90) % 3 == 0).astype(int)
    path = write_tokenized(cells_of(adata), tmp_path / "t", TokenizeOptions(cells_per_shard=7))
    assert lists(path) == expected_lists()[::3]
    assert json.loads((path / "report.json").read_text())["num_cells_left_out_by_filter_pass"] == 60
    assert len(lists(write_tokenized(cells_of(adata), tmp_path / "all", TokenizeOptions(filter_pass=False)))) == 90
    adata.obs["filter_pass"] = 0
    with pytest.raises(DataError, match="no cell has filter_pass 1"):
        write_tokenized(cells_of(adata), tmp_path / "none", TokenizeOptions())


def test_bad_input_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match=r"--obs-columns organ: adata: X has no such column, found \['cell_type'"):
        write_tokenized(cells_of(), tmp_path / "t", TokenizeOptions(obs_columns=("organ",)))
    adata = make_adata()
    adata.obs["length"] = 1
    with pytest.raises(ConfigError, match="the dataset has a column of that name"):
        write_tokenized(cells_of(adata), tmp_path / "t", TokenizeOptions(obs_columns=("length",)))
    dense = CELLS.counts.toarray()
    dense[89] = 0
    adata.X = dense
    with pytest.raises(DataError, match="cell 89 has no counts of known genes"):
        write_tokenized(cells_of(adata), tmp_path / "t", TokenizeOptions(cells_per_shard=10))
    cells = cells_of()
    cells.source._source._matrix.group["data"][-1] = 0.5
    with pytest.raises(DataError, match=r"cell 89 has the value 0\.5"):
        write_tokenized(cells, tmp_path / "t", TokenizeOptions(cells_per_shard=10))
    cells.min_coverage = 0.999
    cells.source._source._matrix.group["data"][-1] = 1
    with pytest.raises(DataError, match="the vocabulary knows"):
        write_tokenized(cells, tmp_path / "t", TokenizeOptions(cells_per_shard=10))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "mine").write_text("")
    with pytest.raises(DataFileError, match="exists already"):
        write_tokenized(cells_of(), tmp_path / "t", TokenizeOptions())


def test_a_damaged_dataset_is_refused(written):
    shard = written / "data-00001-of-00003.arrow"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(FormatError, match="damaged dataset"):
        open_tokenized(written)
    shard.unlink()
    with pytest.raises(FormatError, match="damaged dataset"):
        open_tokenized(written)


def write_all(path, num_repeats):
    adata = make_adata()
    adata = adata[np.tile(np.arange(90), num_repeats)]
    adata.obs_names_make_unique()
    write_tokenized(
        cells_of(adata), path, TokenizeOptions(obs_columns=("cell_type",), cells_per_shard=100), plan={"a": 1}
    )


@pytest.mark.parametrize("kills", [None, pytest.param(50, marks=pytest.mark.nightly)])
def test_kills_leave_a_whole_dataset_or_work_that_goes_on(tmp_path, kills):
    target = tmp_path / "tokens"
    once = expected_lists()
    resumed = []

    def check(kill):
        if target.exists():
            assert lists(target) == once * 30
            shutil.rmtree(target)
            return
        parts = [p for p in (tmp_path / "tokens.incomplete").glob("*.arrow") if not is_leftover(p)]
        resumed.append(len(parts))

    kill_runner(write_all, target, 30, check=check, kills=kills, preload=PRELOAD)
    write_all(target, 30)
    check(None)
    assert resumed


def test_work_stopped_while_it_tidies_up_goes_on(tmp_path, monkeypatch):
    """Found by fifty kills: one note of a data file was removed already, the next run looked for it."""
    unlink, removed = Path.unlink, []

    def fail_on_the_second_note(path, missing_ok=False):
        if path.name.endswith(".arrow.json"):
            if removed:
                raise RuntimeError("power")
            removed.append(path)
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fail_on_the_second_note)
        with pytest.raises(RuntimeError, match="power"):
            write_tokenized(cells_of(), tmp_path / "tokens", TokenizeOptions(cells_per_shard=40))
    path = write_tokenized(cells_of(), tmp_path / "tokens", TokenizeOptions(cells_per_shard=40))
    assert lists(path) == expected_lists()
    assert json.loads((path / "report.json").read_text())["num_cells"] == 90
    assert not list(path.glob("*.arrow.json"))
