# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys
import time

import numpy as np
import pytest

from bionemo.core._config_parser import build_parser
from bionemo.geneformer.data.tokenized_cells import open_tokenized
from bionemo.geneformer.scripts.tokenize_geneformer import main
from bionemo.geneformer.tokenize_config import TokenizeGeneformerConfig
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.testing.cells import make_cells


FLAGS = """
--counts-layer --feature-type
--data-path --output-path --model --token-dictionary --gene-medians --gene-mapping --gene-names --obs-columns --layer
--gene-column --sum-duplicates --no-sum-duplicates --empty-cells --filter-pass --no-filter-pass
--allow-fractional-counts --no-allow-fractional-counts --min-coverage --seq-length --cells-per-shard
--config --debug --version --help -h
"""
CELLS = make_cells(40, 50, seed=3)
V2_SPECIALS = {"<pad>": 0, "<mask>": 1, "<cls>": 2, "<eos>": 3}


@pytest.fixture
def files(tmp_path):
    CELLS.to_anndata().write_h5ad(tmp_path / "cells.h5ad")
    SingleCellMemMapDataset.from_h5ad(tmp_path / "cells.h5ad", tmp_path / "archive", use_X_not_raw=True)
    genes = CELLS.gene_ids
    contents = {
        "v1": {"<pad>": 0, "<mask>": 1, **{gene: i + 2 for i, gene in enumerate(genes)}},
        "v2": {**V2_SPECIALS, **{gene: i + 4 for i, gene in enumerate(genes)}},
        "medians": dict.fromkeys(genes, 1.5),
        "other": {f"ENSG9{i:010d}": 1.0 for i in range(50)},
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def run(files, *extra, data="cells.h5ad", model="V2", dictionary="v2", medians="medians", output="out"):
    return main(
        [
            *("--data-path", str(files / data), "--output-path", str(files / output), "--model", model),
            *(
                "--token-dictionary",
                str(files / f"{dictionary}.json"),
                "--gene-medians",
                str(files / f"{medians}.json"),
            ),
            *map(str, extra),
        ]
    )


def test_flags_are_the_golden_list():
    parser = build_parser(TokenizeGeneformerConfig)
    assert {flag for action in parser._actions for flag in action.option_strings} == set(FLAGS.split())


@pytest.mark.parametrize("data", ["cells.h5ad", "archive"])
def test_a_token_set_and_its_path_on_stdout(files, capsys, data):
    assert run(files, "--obs-columns", "cell_type", "--seq-length", 20, data=data) == 0
    assert capsys.readouterr().out == f"{files / 'out'}\n"
    cells = open_tokenized(files / "out")
    tokens, lengths = cells.read(np.array([0]))
    row = CELLS.counts[0]
    ranked = row.indices[np.lexsort((row.indices, -row.data))][:18] + 4
    assert tokens.tolist() == [2, *ranked, 3]
    assert lengths.tolist() == [20]
    assert cells.column("cell_type")[3] == f"type{CELLS.cell_types[3]}"


def test_v1_has_no_frame(files):
    assert run(files, model="V1", dictionary="v1", output="v1") == 0
    tokens, _ = open_tokenized(files / "v1").read(np.array([0]))
    assert len(tokens) == CELLS.counts[0].nnz
    assert tokens.min() >= 2


def change(files, edit):
    adata = CELLS.to_anndata()
    edit(adata)
    adata.write_h5ad(files / "changed.h5ad")
    return {"data": "changed.h5ad"}


def set_x(adata, values):
    adata.X = values


def rename(adata, names):
    adata.var["feature_id"] = names


DENSE = CELLS.counts.toarray()
EMPTY = np.where(np.arange(40)[:, None] == 7, 0, DENSE)
MICE = [f"ENSMUSG{i:011d}" for i in range(50)]
TWICE = [*CELLS.gene_ids[:49], f"{CELLS.gene_ids[0]}.2"]


@pytest.mark.parametrize(
    ("edit", "extra", "message"),
    [
        (lambda a: set_x(a, np.log1p(DENSE)), (), "log-normalized by their range. Ranking needs raw counts"),
        (lambda a: set_x(a, DENSE / DENSE.sum(1, keepdims=True) * 1e4), ("--layer", "X"), "the data look normalized"),
        (lambda a: set_x(a, -DENSE), ("--layer", "X"), "Raw counts are not negative"),
        (lambda a: set_x(a, DENSE + 0.5), (), "--allow-fractional-counts"),
        (lambda a: set_x(a, EMPTY), (), "cell 7 has no counts of known genes (1 such cells)"),
        (lambda a: rename(a, MICE), (), "genes of mouse, such as ENSMUSG00000000000"),
        (lambda a: rename(a, [f"x{i}" for i in range(50)]), (), "no gene is known: 'feature_id' holds x0, x1, x2"),
        (lambda a: rename(a, TWICE), ("--no-sum-duplicates",), "has two columns"),
        (lambda a: None, ("--obs-columns", "organ"), "--obs-columns organ"),
        (lambda a: None, ("--layer", "counts"), "no matrix 'counts'"),
        (lambda a: None, ("--gene-column", "id"), "no gene column 'id', found ['feature_id', 'index']"),
        (lambda a: a._inplace_subset_obs([]), (), "holds no cells"),
    ],
)
def test_bad_counts_are_one_line_exit_2_and_leave_nothing(files, capsys, edit, extra, message):
    chosen = change(files, edit)
    before = sorted(path.name for path in files.iterdir())
    assert run(files, *extra, **chosen) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.strip().splitlines()[-1]
    assert line.startswith("tokenize_geneformer: error: ")
    assert message in line
    assert sorted(path.name for path in files.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "extra", "message"),
    [
        ({"model": "V1"}, (), "v2.json: has the special tokens of V2, but --model V1"),
        ({"medians": "other"}, (), "are of different versions"),
        ({"medians": "v9"}, (), "there is no such file"),
        ({"data": "no.h5ad"}, (), "there is no such file or archive"),
        ({}, ("--min-coverage", 1.5), "--min-coverage 1.5"),
        ({}, ("--cells-per-shard", 0), "--cells-per-shard 0"),
        ({}, ("--seq-length", 2), "must leave room for a gene"),
        ({}, ("--gene-colum", "id"), "Did you mean --gene-column"),
    ],
)
def test_bad_settings_are_one_line_and_exit_2(files, capsys, options, extra, message):
    assert run(files, *extra, **options) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not any((files / name).exists() for name in ("out", "out.incomplete"))


def test_an_empty_archive_is_one_line_and_leaves_nothing(files, capsys):
    chosen = change(files, lambda adata: adata._inplace_subset_obs([]))
    SingleCellMemMapDataset.from_h5ad(files / chosen["data"], files / "empty", use_X_not_raw=True)
    before = sorted(files.iterdir())
    assert run(files, data="empty") == 2
    assert "empty: holds no cells" in capsys.readouterr().err.strip().splitlines()[-1]
    assert sorted(files.iterdir()) == before


def test_estimated_counts_duplicates_and_empty_cells_on_request(files):
    assert run(files, "--allow-fractional-counts", **change(files, lambda a: set_x(a, DENSE * 0.5))) == 0
    assert run(files, output="twice", **change(files, lambda a: rename(a, TWICE))) == 0
    assert run(files, "--empty-cells", "skip", output="skip", **change(files, lambda a: set_x(a, EMPTY))) == 0
    assert len(open_tokenized(files / "skip")) == 39


def test_unfinished_work_with_other_settings_is_not_mixed_in(files, capsys):
    (files / "out.incomplete").mkdir()
    (files / "out.incomplete" / "plan.json").write_text("{}")
    assert run(files) == 2
    assert "holds unfinished work with other settings" in capsys.readouterr().err


def test_help_is_quick():
    start = time.monotonic()
    command = [sys.executable, "-m", "bionemo.geneformer.scripts.tokenize_geneformer", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--gene-medians" in done.stdout
    assert time.monotonic() - start < 5  # a second on a quiet machine
