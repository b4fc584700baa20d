# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import csv
import json

import anndata
import numpy as np
import pandas as pd
import pytest

from bionemo.core._config_parser import build_parser
from bionemo.geneformer.embedding.embedder import CellOutputs
from bionemo.geneformer.embedding.results_table import cells_table
from bionemo.geneformer.evaluation.config import EvaluateGeneformerConfig
from bionemo.geneformer.evaluation.picture import save_umaps
from bionemo.geneformer.scripts.evaluate_geneformer import main
from bionemo.testing.cells import make_cells


pytest.importorskip("sklearn")

FLAGS = """
--version
--feature-type
--data-path --embeddings-path --label-column --results-path --batch-column --id-column --counts-layer --num-folds
--num-components --num-variable-genes --max-cells --umap --no-umap --seed --config --debug --help -h
"""
CELLS = make_cells(120, 80, seed=2, num_types=3)


def write_embeddings(folder, ids, values):
    import pyarrow.parquet as pq

    folder.mkdir()
    table = cells_table(CellOutputs({"cell": values.astype(np.float32)}), np.asarray(ids))
    pq.write_table(table, folder / "cells.parquet")
    return folder


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    adata = CELLS.to_anndata()
    adata.obs["batch"] = np.where(np.arange(120) % 2 == 0, "a", "b")
    adata.write_h5ad(tmp_path / "cells.h5ad")
    good = np.eye(3)[CELLS.cell_types] * 9 + rng.normal(size=(120, 3))
    order = rng.permutation(120)
    write_embeddings(tmp_path / "good", [f"cell{i}" for i in order], good[order])
    noise = anndata.AnnData(obs=pd.DataFrame(index=[f"cell{i}" for i in range(110)]))
    noise.obsm["X_geneformer"] = rng.normal(size=(110, 6))
    noise.write_h5ad(tmp_path / "noise.h5ad")
    return tmp_path


def run(files, *extra, embeddings=("good",), label="cell_type", data="cells.h5ad", output="out"):
    return main(
        [
            *("--data-path", str(files / data), "--label-column", label, "--results-path", str(files / output)),
            *("--embeddings-path", *(name if "=" in name else str(files / name) for name in embeddings)),
            *map(str, extra),
        ]
    )


def test_flags_are_the_golden_list():
    parser = build_parser(EvaluateGeneformerConfig)
    assert {flag for action in parser._actions for flag in action.option_strings} == set(FLAGS.split())


def test_embeddings_and_baselines_in_one_report(files, capsys):
    embeddings = ("good", f"noise={files / 'noise.h5ad'}")
    assert run(files, "--no-umap", "--batch-column", "batch", "--num-components", 10, embeddings=embeddings) == 0
    assert capsys.readouterr().out == f"{files / 'out'}\n"
    report = json.loads((files / "out" / "report.json").read_text())
    scores = report["representations"]
    assert list(scores) == ["good", "noise", "PCA", "HVG"]
    assert [found["num_features"] for found in scores.values()] == [3, 6, 10, 80]
    assert (report["num_cells"], report["left_out"]) == (110, {"without every embedding": 10})
    assert scores["good"]["logistic_macro_f1"] == scores["good"]["knn_macro_f1"] == 1.0
    assert scores["PCA"]["logistic_macro_f1"] > 0.9 > 0.6 > scores["noise"]["logistic_macro_f1"]
    assert scores["good"]["silhouette"] > 0.5 > 0.1 > scores["noise"]["silhouette"]
    assert all(0.8 < found["batch_mixing"] < 1.1 for found in scores.values())
    assert sum(report["cells_of_types"].values()) == 110
    with (files / "out" / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["representation"] for row in rows] == list(scores)
    assert float(rows[2]["knn_macro_f1"]) == scores["PCA"]["knn_macro_f1"]
    names = ["config.yaml", "report.csv", "report.json"]
    assert sorted(path.name for path in (files / "out").iterdir()) == names
    assert run(files, "--no-umap", "--batch-column", "batch", embeddings=embeddings, output="again") == 0
    again = json.loads((files / "again" / "report.json").read_text())["representations"]
    assert again["good"] == scores["good"]


def test_cells_are_drawn_and_rare_or_unlabeled_ones_left_out(files):
    adata = anndata.read_h5ad(files / "cells.h5ad")
    labels = adata.obs["cell_type"].astype(object).to_numpy().copy()
    labels[:3], labels[3:7] = "rare", None
    adata.obs["cell_type"] = labels
    adata.write_h5ad(files / "cells.h5ad")
    assert run(files, "--no-umap", "--max-cells", 100) == 0
    left_out = json.loads((files / "out" / "report.json").read_text())["left_out"]
    assert left_out["without a label"] == 4
    assert left_out["beyond --max-cells"] == 16
    assert left_out["of types with fewer cells than folds"] <= 3


@pytest.mark.parametrize(
    ("options", "extra", "message"),
    [
        ({"label": "organ"}, (), "no obs column 'organ'"),
        ({}, ("--batch-column", "donor"), "no obs column 'donor'"),
        ({}, ("--id-column", "barcode"), "no obs column 'barcode'"),
        ({}, ("--id-column", "cell_type"), "cell ids repeat"),
        ({}, ("--num-folds", 1), "--num-folds 1: must be at least 2"),
        ({}, ("--num-folds", 100), "fewer than two types have 100 cells"),
        ({}, ("--counts-layer", "raw"), "no matrix 'raw'"),
        ({"embeddings": ("none",)}, (), "holds no cells.parquet"),
        ({"embeddings": ("good", "good")}, (), "the name 'good' is taken"),
        ({"embeddings": ("PCA=good",)}, (), "the name 'PCA' is taken"),
        ({"embeddings": ("cells.h5ad",)}, (), "expected one obsm key X_geneformer, found []"),
        ({"data": "none.h5ad"}, (), "there is no such file"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_leaves_nothing(files, capsys, options, extra, message):
    before = sorted(files.iterdir())
    assert run(files, "--no-umap", *extra, **options) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("evaluate_geneformer: error: ")
    assert message in line
    assert sorted(files.iterdir()) == before


def test_embeddings_of_other_cells_or_with_holes_are_refused(files, capsys):
    write_embeddings(files / "other", ["cell0", "x7"], np.zeros((2, 3)))
    assert run(files, "--no-umap", embeddings=("other",)) == 2
    assert "cell 'x7' is not in" in capsys.readouterr().err
    write_embeddings(files / "holes", ["cell0"], np.full((1, 3), np.nan))
    assert run(files, "--no-umap", embeddings=("holes",)) == 2
    assert "an embedding that is not finite" in capsys.readouterr().err


@pytest.mark.nightly  # the tutorial draws UMAPs in every run
def test_the_picture(files):
    pytest.importorskip("umap")
    from matplotlib.image import imread

    assert run(files, "--batch-column", "batch", "--num-components", 10) == 0
    assert imread(files / "out" / "umap.png").shape[0] > 600


def test_projections_are_drawn_for_every_grouping(tmp_path):
    from matplotlib.image import imread

    rng = np.random.default_rng(0)
    projections = {"one": rng.normal(size=(60, 2)), "two": rng.normal(size=(60, 2))}
    types = np.repeat(["a", "b", "c"], 20)
    save_umaps(tmp_path / "few.png", {"one": projections["one"]}, {"type": types})
    save_umaps(tmp_path / "many.png", projections, {"type": types, "batch": types[::-1]})
    few, many = imread(tmp_path / "few.png"), imread(tmp_path / "many.png")
    assert many.shape[0] == pytest.approx(2 * few.shape[0], abs=2)
    assert many.shape[1] > 1.5 * few.shape[1]
    shades = {tuple(shade) for shade in (many[..., :3].reshape(-1, 3) * 10).round().astype(int).tolist()}
    assert {(1, 5, 7), (10, 5, 1), (2, 6, 2)} <= shades  # blue, orange, green
