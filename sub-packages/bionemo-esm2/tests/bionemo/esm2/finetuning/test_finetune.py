# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning runs of a tiny ESM-2: they learn, and leave a folder that predicts."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from bionemo.esm2.finetuning.config import PredictESM2Config
from bionemo.esm2.finetuning.finetune import finetune
from bionemo.esm2.finetuning.predict import run_prediction
from bionemo.llm.training.metrics_csv import read_metrics


FEW_VALIDATIONS = {"val_check_interval": 40, "log_every_n_steps": 20}


def scores_of(run: Path) -> dict:
    return json.loads((run / "scores.json").read_text())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def predict(run: Path, labeled: Path, folder: Path, **changes) -> Path:
    config = PredictESM2Config(
        checkpoint_path=run, data_path=labeled, results_path=folder, accelerator="cpu", csv=True, **changes
    )
    return run_prediction(config)


def test_a_value_is_learned_and_predicted_again(settings, labeled: Path, tmp_path: Path) -> None:
    run = finetune(settings(**FEW_VALIDATIONS, num_epochs=4, micro_batch_size=4))
    scores = scores_of(run)
    assert scores["value"]["spearman"] > 0.8
    assert scores["num_proteins"] == 24
    metrics = read_metrics(run / "metrics.csv")
    assert np.nanmax(metrics["val_spearman"]) > 0.8
    assert np.nanmin(metrics["val_loss"]) < 0.5  # of standardized values: below their variance
    for picture in ("scatter.png", "loss.png"):
        assert (run / picture).read_bytes().startswith(b"\x89PNG")
    held_out = {row["id"]: row for row in rows_of(run / "predictions.csv")}
    predicted = {row["id"]: row for row in rows_of(predict(run, labeled, tmp_path / "out") / "predictions.csv")}
    assert len(predicted) == 120
    for name, row in held_out.items():
        assert float(predicted[name]["value"]) == pytest.approx(float(row["value_predicted"]), abs=2e-5)


def test_classes_of_sequences_with_a_frozen_encoder_in_clusters(settings, labeled: Path, tmp_path: Path) -> None:
    run = finetune(
        settings(
            label_column="kind", task_type="classification", encoder_frozen=True, split="cluster", num_epochs=12,
            class_weights="balanced", metric_to_monitor_for_checkpoints="val_acc", early_stopping_patience=2,
            **FEW_VALIDATIONS,
        )
    )  # fmt: skip
    assert scores_of(run)["kind"]["accuracy"] > 0.85
    assert len(list((run / "data").glob("features-*.npy"))) == 1
    for picture in ("confusion.png", "curves.png"):
        assert (run / picture).read_bytes().startswith(b"\x89PNG")
    best = json.loads((run / "checkpoints" / "best" / "training_state" / "state.json").read_text())["metrics"][
        "val_acc"
    ]
    assert best == np.nanmax(read_metrics(run / "metrics.csv")["val_acc"])
    # The whole encoder, which has seen no step, predicts what the cached features did.
    held_out = {row["id"]: row["kind_predicted"] for row in rows_of(run / "predictions.csv")}
    predicted = rows_of(predict(run, labeled, tmp_path / "out", probabilities=True) / "predictions.csv")
    assert all(held_out.get(row["id"], row["kind"]) == row["kind"] for row in predicted)


def test_several_targets_and_several_labels_at_once_in_column_splits(settings, labeled: Path, tmp_path: Path) -> None:
    run = finetune(
        settings(
            label_column=("value", "kind", "places"), task_type=("regression", "classification", "multilabel"),
            split="column", split_column="set", num_epochs=8, micro_batch_size=4, **FEW_VALIDATIONS,
        )
    )  # fmt: skip
    scores = scores_of(run)
    assert scores["num_proteins"] == 30  # the test rows alone
    assert scores["value"]["spearman"] > 0.6
    assert scores["kind"]["accuracy"] > 0.8
    assert scores["places"]["macro_f1"] > 0.5
    row = rows_of(run / "predictions.csv")[0]
    assert set(row["places"].split(";")) <= {"membrane", "nucleus", ""}
    out = predict(run, labeled, tmp_path / "out")
    assert set(rows_of(out / "predictions.csv")[0]) == {
        "row", "id", "length", "value", "kind", "kind_probability", "places",
    }  # fmt: skip


@pytest.mark.parametrize("lora", [False, True])
def test_classes_of_residues(settings, labeled: Path, tmp_path: Path, lora: bool) -> None:
    changes = {"lora_finetune": True, "lora_rank": 4, "lora_alpha": 8.0} if lora else {}
    run = finetune(
        settings(
            label_column="states", labels_mask_column="mask", task_type="classification", level="residue",
            head="linear" if lora else None, num_epochs=4, **FEW_VALIDATIONS, **changes,
        )
    )  # fmt: skip
    scores = scores_of(run)["states"]
    assert scores["accuracy"] > 0.9
    held_out = {row["id"]: row for row in rows_of(run / "predictions.csv")}
    truth = {row["id"]: row["states"] for row in rows_of(labeled)}
    assert scores["num_labels"] == sum(len(truth[name]) - 1 for name in held_out)  # the first residue is masked
    right = sum(
        a == b for n, r in held_out.items() for a, b in zip(r["states_predicted"][1:], truth[n][1:], strict=True)
    )
    assert scores["accuracy"] == pytest.approx(right / scores["num_labels"])
    predicted = rows_of(predict(run, labeled, tmp_path / "out") / "predictions.csv")
    assert all(held_out[r["id"]]["states_predicted"] == r["states"] for r in predicted if r["id"] in held_out)


def test_folds_predict_every_protein_once_and_share_the_features(settings, labeled: Path) -> None:
    run = finetune(
        settings(
            encoder_frozen=True, folds=3, split="column", split_column="fold", num_epochs=2, head="linear", lr=1e-2
        )
    )
    rows = rows_of(run / "predictions.csv")
    assert [row["id"] for row in rows] == [f"p{number}" for fold in range(3) for number in range(fold, 120, 3)]
    assert scores_of(run)["value"]["num_labels"] == 119
    assert len(list((run / "data").glob("*.npy"))) == 1
    assert [len(list((run / f"fold-{fold}" / "checkpoints").glob("step-*"))) > 0 for fold in range(3)] == [True] * 3


def test_the_learning_rate_finder_replaces_the_rate(settings) -> None:
    run = finetune(
        settings(find_lr=True, num_epochs=1, encoder_frozen=True, scale_lr_layer="out_proj", lr_multiplier=2.0)
    )
    assert (run / "lr_finder.png").is_file()
    lr = float(next(x for x in (run / "resolved.yaml").read_text().splitlines() if x.startswith("  lr:")).split()[1])
    assert 1e-5 < lr < 0.5
