# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Whole runs of ``perturb_geneformer``: what a run leaves, kills, ranks, bad input."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from bionemo.core.config import from_mapping
from bionemo.geneformer.perturbation import job
from bionemo.geneformer.perturbation.config import PerturbGeneformerConfig
from bionemo.geneformer.perturbation.run import run_perturbation
from bionemo.geneformer.perturbation.shift_table import open_shifts
from bionemo.geneformer.scripts.perturb_geneformer import main
from bionemo.testing.kills import Kill, kill_runner
from bionemo.testing.multiprocess import run_on_ranks


Files = Callable[[str], Any]
PRELOAD = (
    "bionemo.geneformer.perturbation.run", "bionemo.testing.multiprocess", "matplotlib.backends.backend_agg",
    "matplotlib.figure", "pyarrow.parquet", "pytest", "scipy.stats",
)  # fmt: skip
STATES = {"state_key": "state", "start_state": "sick", "goal_state": "well"}
TYPED_STATES = ("--state-key=state", "--start-state=sick")


def settings(files: Any, results: Path, **changes: Any) -> PerturbGeneformerConfig:
    given = {
        "checkpoint_path": str(files.checkpoint),
        "data_path": str(files.tokens),
        "results_path": str(results),
        "tokens_per_batch": 64,
        "accelerator": "cpu",
        **changes,
    }
    return from_mapping(PerturbGeneformerConfig, given)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_all_genes_towards_a_goal_state(perturbation_files: Files, tmp_path: Path) -> None:
    files = perturbation_files("V2")
    config = settings(files, tmp_path / "out", **STATES, min_detections=4)
    assert run_perturbation(config) == tmp_path / "out"
    names = {"config.yaml", "shifts.parquet", "states.json", "statistics.csv", "volcano.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    table = pq.read_table(tmp_path / "out/shifts.parquet").to_pylist()
    sick = [f"cell{number}" for number in np.flatnonzero(files.states == "sick")]
    assert sorted({row["cell_id"] for row in table}) == sorted(sick)
    for number in np.flatnonzero(files.states == "sick")[:3]:
        expected = {files.cells.gene_ids[gene] for gene in files.cells.counts[number].indices}
        assert {row["gene"] for row in table if row["cell_id"] == f"cell{number}"} == expected
    first = table[0]
    assert list(first) == [
        "cell_id", "gene", "gene_name", "token", "perturb_type", "rank_shift", "shift_to_start", "shift_to_goal",
    ]  # fmt: skip
    gene = files.cells.gene_ids.index(first["gene"])
    assert (first["gene_name"], first["token"]) == (f"SYM{gene}", str(gene + 4))
    assert (first["perturb_type"], first["rank_shift"]) == ("delete", None)
    shifts = open_shifts(tmp_path / "out")
    for row in rows(tmp_path / "out/statistics.csv"):
        place = [label.gene for label in shifts.labels].index(row["Ensembl_ID"])
        mine = shifts.values["shift_to_goal"][shifts.gene_idx == place]
        assert float(row["Shift_to_goal_end"]) == pytest.approx(mine.mean())
        assert int(row["N_Detections"]) == len(mine)


def test_counts_and_tokens_give_the_same_shifts(perturbation_files: Files, tmp_path: Path) -> None:
    files = perturbation_files("V1")
    for name, path in (("counts", files.h5ad), ("tokens", files.tokens)):
        run_perturbation(settings(files, tmp_path / name, data_path=str(path), max_cells=4, statistics="none"))
    counts, tokens = (open_shifts(tmp_path / name) for name in ("counts", "tokens"))
    assert counts.labels == tokens.labels
    assert sorted(set(counts.cell_ids)) == sorted(set(tokens.cell_ids))
    np.testing.assert_array_equal(counts.values["cosine"], tokens.values["cosine"])


def test_genes_together_overexpressed(perturbation_files: Files, tmp_path: Path) -> None:
    files = perturbation_files("V2")
    genes = ["SYM3", f"{files.cells.gene_ids[5]}.7"]
    run_perturbation(settings(files, tmp_path / "out", perturb_type="overexpress", genes=genes))
    shifts = open_shifts(tmp_path / "out")
    (label,) = shifts.labels
    assert label.gene == f"{files.cells.gene_ids[3]}+{files.cells.gene_ids[5]}"
    assert label.gene_name == "SYM3+SYM5"
    assert len(shifts.cell_ids) == len(files.states)
    table = rows(tmp_path / "out/statistics.csv")
    assert [float(row["Cosine_shift"]) for row in table] == sorted(shifts.values["cosine"] - 1)


def test_pairs_and_gene_cosines(perturbation_files: Files, tmp_path: Path) -> None:
    files = perturbation_files("V1")
    anchor = int(np.argmax((files.cells.counts.toarray()[files.states == "well"] > 0).sum(axis=0)))
    changes = {"anchor_gene": f"SYM{anchor}", "gene_cosines": True, "filter_cells": ["state=well"]}
    run_perturbation(settings(files, tmp_path / "out", **changes))
    shifts = open_shifts(tmp_path / "out")
    assert (shifts.scope, shifts.anchor) == ("pairs", files.cells.gene_ids[anchor])
    cosines = pq.read_table(tmp_path / "out/gene_cosines.parquet")
    means = cosines.group_by(["cell_id", "gene"]).aggregate([("cosine", "mean")]).to_pylist()
    by_edit = {(row["cell_id"], row["gene"]): row["cosine_mean"] for row in means}
    genes = [shifts.labels[idx].gene for idx in shifts.gene_idx]
    assert len(by_edit) == len(genes)
    for cell_id, gene, cosine in zip(shifts.cell_ids.tolist(), genes, shifts.values["cosine"], strict=True):
        assert by_edit[cell_id, gene] == pytest.approx(cosine, abs=1e-6)
    assert set(rows(tmp_path / "out/statistics.csv")[0]) >= {"Anchor_shift", "Combo_minus_sum_shift"}


def test_earlier_results_against_null_cells(perturbation_files: Files, tmp_path: Path) -> None:
    files = perturbation_files("V2")
    for name in ("sick", "well"):
        run_perturbation(settings(files, tmp_path / name, filter_cells=[f"state={name}"], statistics="none"))
    arguments = [
        f"--shifts-path={tmp_path / 'sick'}", f"--null-shifts-path={tmp_path / 'well'}",
        f"--results-path={tmp_path / 'out'}",
    ]  # fmt: skip
    assert main(arguments) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"config.yaml", "statistics.csv", "volcano.png"}
    table = rows(tmp_path / "out/statistics.csv")
    sick = open_shifts(tmp_path / "sick")
    assert sum(int(row["N_Detections_test"]) for row in table) <= len(sick.gene_idx)
    place = [label.gene for label in sick.labels].index(table[0]["Ensembl_ID"])
    expected = sick.values["cosine"][sick.gene_idx == place].mean() - 1
    assert float(table[0]["Test_avg_shift"]) == pytest.approx(expected)


def test_too_few_shifts_for_statistics_do_not_cost_the_shifts(
    perturbation_files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = perturbation_files("V2")
    run_perturbation(settings(files, tmp_path / "sick", filter_cells=["state=sick"], statistics="none"))
    shifts = pq.read_table(tmp_path / "sick/shifts.parquet")
    pq.write_table(shifts.slice(0, 1), tmp_path / "one.parquet")
    arguments = [f"--shifts-path={tmp_path / 'one.parquet'}", f"--results-path={tmp_path / 'out'}"]
    assert main(arguments) == 2
    assert not (tmp_path / "out").exists()
    changed = {"max_cells": 1, "tokens_per_batch": 64, "filter_cells": ["state=sick"]}
    token = int(pq.read_table(files.tokens)["input_ids"][0].as_py()[1])
    one_gene = pa.table({"input_ids": [[2, token, token + 1 if token < 27 else token - 1, 3]], "state": ["sick"]})
    pq.write_table(one_gene.slice(0, 1), tmp_path / "cell.parquet")
    run_perturbation(settings(files, tmp_path / "few", data_path=str(tmp_path / "cell.parquet"), **changed))
    assert open_shifts(tmp_path / "few").gene_idx.shape == (2,)


def perturb_in_child(config: PerturbGeneformerConfig) -> None:
    torch.set_num_threads(1)
    job.PACKS_PER_PARTITION = 1
    run_perturbation(config)


def same_files(one: Path, other: Path) -> None:
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}
    for path in one.iterdir():
        if path.name == "config.yaml":  # names its own folder
            continue
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name


@pytest.mark.parametrize("kills", [None, pytest.param(50, marks=pytest.mark.nightly)])
def test_killed_and_called_again_equals_never_killed(
    kills: int | None, perturbation_files: Files, tmp_path: Path
) -> None:
    files = perturbation_files("V1")
    changes = {**STATES, "gene_cosines": True, "tokens_per_batch": 32}
    perturb_in_child(settings(files, tmp_path / "reference", **changes))
    config = settings(files, tmp_path / "out", **changes)
    parts: list[int] = []

    def check(kill: Kill) -> None:
        work = tmp_path / "out.incomplete"
        if kill.landed:
            if work.is_dir():
                assert not (tmp_path / "out").exists()
                parts.append(len([path for path in work.iterdir() if path.name.startswith("partition-")]))
                for path in work.glob("partition-*/*.parquet"):
                    pq.read_table(path)
            if not (tmp_path / "out").exists():
                perturb_in_child(config)
        same_files(tmp_path / "out", tmp_path / "reference")
        assert not work.exists()

    def prepare() -> None:
        for name in ("out", "out.incomplete"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)

    kill_runner(perturb_in_child, config, check=check, prepare=prepare, kills=kills, preload=PRELOAD)
    assert parts


def perturb_on_rank(config: PerturbGeneformerConfig) -> Path | None:
    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    torch.set_num_threads(1)
    job.PACKS_PER_PARTITION = 1
    try:
        return run_perturbation(config)
    finally:
        torch.distributed.destroy_process_group()


def test_two_ranks_equal_one(perturbation_files: Files, tmp_path: Path) -> None:
    files = perturbation_files("V2")
    perturb_in_child(settings(files, tmp_path / "one", gene_cosines=True))
    config = settings(files, tmp_path / "two", gene_cosines=True, num_gpus=2)
    assert run_on_ranks(2, perturb_on_rank, config, process_group=False) == [tmp_path / "two", None]
    same_files(tmp_path / "two", tmp_path / "one")
    perturb_in_child(settings(files, tmp_path / "one-states", **STATES))
    run_on_ranks(
        2, perturb_on_rank, settings(files, tmp_path / "two-states", num_gpus=2, **STATES), process_group=False
    )
    one, two = (open_shifts(tmp_path / f"{name}-states") for name in ("one", "two"))
    np.testing.assert_array_equal(one.cell_ids, two.cell_ids)
    for name, values in one.values.items():  # states are means over packs of other cells
        np.testing.assert_allclose(values, two.values[name], rtol=0, atol=1e-6)


def refused(
    capsys: pytest.CaptureFixture[str], files: Any, folder: Path, *flags: str, data: Path | None = None
) -> str:
    """Type the command, which must fail with one line and leave nothing; that line."""
    before = sorted(folder.iterdir())
    arguments = [
        f"--checkpoint-path={files.checkpoint}", f"--data-path={data or files.tokens}",
        f"--results-path={folder / 'out'}", "--accelerator=cpu", *flags,
    ]  # fmt: skip
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    *notes, line = captured.err.strip().splitlines()
    assert line.startswith("perturb_geneformer: error: ")
    assert not any("error" in note for note in notes)
    assert sorted(folder.iterdir()) == before
    return line


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--genes=SYM99"], "gene SYM99: is not in the model's vocabulary. Did you mean SYM9?"),
        (["--genes", "SYM1", "ENSG00000000001"], "genes SYM1 and ENSG00000000001: are the same, ENSG00000000001."),
        (["--state-key=stat", "--start-state=a", "--goal-state=b"], "no obs column 'stat', found ['state', 'cell_id'"),
        ([*TYPED_STATES, "--goal-state=wel"], "no cell has 'state' 'wel'. Did you mean well? There are: sick, well."),
        ([*TYPED_STATES, "--goal-state=sick"], "states of 'state': one is named twice among sick, sick."),
        (["--filter-cells=state"], "--filter-cells state: expected COLUMN=VALUE[,VALUE...]."),
        (["--layer=-3"], "layer -3: expected 0 (the last) to -2 (the embedding)."),
        (["--embedding=cls"], "--embedding cls: V1 has no first token for the cell. Use cell."),
        (["--checkpoint-path=nowhere"], "nowhere"),
        (["--data-path=nowhere.h5ad"], "nowhere.h5ad: there is no such file or folder."),
        (["--id-column=name"], "no obs column 'name'"),
        (["--max-cells=0"], "--max-cells 0: must be at least 1"),
        (["--compile"], "--compile: works on a GPU only. Leave it out on a CPU."),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(
    perturbation_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert message in refused(capsys, perturbation_files("V1"), tmp_path, *flags)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda adata: setattr(adata, "X", np.log1p(adata.X.toarray())), "Ranking needs raw counts"),
        (lambda adata: setattr(adata, "X", adata.X.toarray() / adata.X.sum(1) * 1e4), "X: no counts: "),
        (lambda adata: setattr(adata, "X", -adata.X.toarray()), " negative of "),
        (lambda adata: setattr(adata, "X", adata.X.toarray() + 0.5), "--allow-fractional-counts"),
        (lambda adata: setattr(adata, "X", adata.X * 0), "none of the 16 cells has counts of known genes"),
        (lambda adata: adata._inplace_subset_obs([]), "holds no cells"),
        (lambda adata: rename_genes(adata, "ENSMUSG"), "genes of mouse, such as ENSMUSG00000000000"),
        (lambda adata: rename_genes(adata, "x"), "no gene is known: 'feature_id' holds x00000000000"),
    ],
)
def test_bad_counts_are_one_line_and_leave_nothing(
    perturbation_files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    edit: Callable[[Any], None],
    message: str,
) -> None:
    files = perturbation_files("V1")
    adata = files.cells.to_anndata().copy()
    edit(adata)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    assert message in refused(capsys, files, tmp_path, data=tmp_path / "cells.h5ad")


def rename_genes(adata: Any, prefix: str) -> None:
    adata.var["feature_id"] = [f"{prefix}{number:011d}" for number in range(adata.n_vars)]


def test_a_gene_that_no_cell_has_is_named(perturbation_files: Files, tmp_path: Path) -> None:
    files = perturbation_files("V1")
    counts = files.cells.counts.toarray()
    absent = int(np.argmin((counts > 0).sum(axis=0)))
    keep = np.flatnonzero(counts[:, absent] == 0)
    table = pq.read_table(files.tokens).take(keep)
    pq.write_table(table, tmp_path / "cells.parquet")
    config = settings(files, tmp_path / "out", data_path=str(tmp_path / "cells.parquet"), genes=[f"SYM{absent}"])
    with pytest.raises(ValueError, match=f"gene SYM{absent} is in none of the {len(keep)} cells"):
        run_perturbation(config)
    assert [path.name for path in tmp_path.iterdir()] == ["cells.parquet"]


def test_cells_or_dictionaries_of_another_model_are_refused(
    perturbation_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = perturbation_files("V1"), perturbation_files("V2")
    line = refused(capsys, second, tmp_path, data=first.tokens)
    assert "cell 0: its tokens are not of the model's vocabulary" in line
    line = refused(capsys, second, tmp_path, f"--token-dictionary={first.checkpoint / 'geneformer.vocab'}")
    assert "the vocabulary's family is V1, the model was trained with V2" in line
    bare = tmp_path / "bare"
    shutil.copytree(first.checkpoint, bare)
    for name in ("geneformer.vocab", "checksums.json"):
        (bare / name).unlink(missing_ok=True)
    line = refused(capsys, first, tmp_path, f"--checkpoint-path={bare}")
    assert "--token-dictionary: required, because" in line
    assert "holds no vocabulary" in line


def test_finished_results_are_not_touched(perturbation_files: Files, tmp_path: Path) -> None:
    config = settings(perturbation_files("V1"), tmp_path / "out", max_cells=2)
    run_perturbation(config)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    with pytest.raises(OSError, match="out: exists already"):
        run_perturbation(config)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
