# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning runs of a tiny Geneformer: they learn, leave models that load, and refuse bad input."""

import csv
import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bionemo.core.command import run_command
from bionemo.core.errors import ConfigError
from bionemo.geneformer.api import (
    GeneformerMaskedLM,
    build_geneformer,
    geneformer_config,
    load_finetuned,
    load_geneformer,
    save_geneformer,
)
from bionemo.geneformer.data.dictionaries import Dictionaries, read_gene_medians, read_tokenizer
from bionemo.geneformer.data.tokenized_cells import open_tokenized
from bionemo.geneformer.finetune import finetune
from bionemo.geneformer.finetune_config import FinetuneGeneformerConfig, check_flags
from bionemo.geneformer.head_training import HeadLoss
from bionemo.geneformer.scripts.finetune_geneformer import main
from bionemo.llm.checkpoints.hf_directory import read_json
from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.llm.training.stop_requests import RunStopped
from bionemo.testing.kills import Kill, kill_runner
from bionemo.testing.multiprocess import run_on_ranks


TINY = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "ffn_hidden_size": 64, "seq_length": 64}


@pytest.fixture(scope="module")
def pretrained(cell_files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: what is learned below is learned in fine-tuning."""
    tokenizer = read_tokenizer(cell_files.token_dictionary)
    config = geneformer_config(
        "V1", vocab_size=62, vocabulary_fingerprint=tokenizer.fingerprint, init_method_std=0.1, **TINY
    )
    module: GeneformerMaskedLM = build_geneformer(config, seed=5)
    module.dictionaries = Dictionaries(tokenizer, read_gene_medians(cell_files.gene_medians), {})
    directory = tmp_path_factory.mktemp("pretrained") / "model"
    save_geneformer(module, directory)
    return directory


@pytest.fixture(scope="module")
def labeled(cell_files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cells as tokens, with their type, a value, and a column with gaps."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    tables = [pq.read_table(path) for path in (cell_files.train_tokens, cell_files.valid_tokens)]
    types = [f"type{number}" for number in cell_files.cells.cell_types]
    table = pa.concat_tables(tables)
    table = table.append_column("cell_type", pa.array(types))
    table = table.append_column("depth", pa.array(np.asarray(cell_files.cells.counts.sum(axis=1)).ravel()))
    table = table.append_column("sparse", pa.array([name if row % 2 else None for row, name in enumerate(types)]))
    table = table.append_column("one", pa.array(["same"] * len(types)))
    path = tmp_path_factory.mktemp("labeled") / "cells.parquet"
    pq.write_table(table, path)
    return path


def settings(pretrained: Path, data: Path, result_dir: Path, **changes) -> FinetuneGeneformerConfig:
    values = {
        "restore_from_checkpoint_path": pretrained,
        "train_data_path": data,
        "label_column": "cell_type",
        "pooling": "mean",
        "num_epochs": 6,
        "lr": 3e-3,
        "accelerator": "cpu",
        "result_dir": result_dir,
    }
    return FinetuneGeneformerConfig(**{**values, **changes})


def scores_of(run_dir: Path) -> dict[str, float]:
    return json.loads((run_dir / "scores.json").read_text())


def predictions_of(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def test_cell_types_are_learned_and_the_model_predicts_what_was_written(
    pretrained: Path, labeled: Path, tmp_path: Path
) -> None:
    run_dir = finetune(settings(pretrained, labeled, tmp_path, num_epochs=12, lr=1e-2))
    assert {p.name for p in run_dir.iterdir()} == {
        "checkpoints", "config.yaml", "log.txt", "loss.png", "metrics.csv", "model", "predictions.csv",
        "resolved.yaml", "scores.json",
    }  # fmt: skip
    rows = predictions_of(run_dir)
    scores = scores_of(run_dir)
    assert scores["num_held_out"] == len(rows) == 24
    assert scores["macro_f1"] > 0.9, scores
    assert scores["accuracy"] == np.mean([row["truth"] == row["predicted"] for row in rows])
    validated = read_metrics(run_dir / "metrics.csv")["val_loss"]
    assert (~np.isnan(validated)).sum() == 12

    card = (run_dir / "model/README.md").read_text()
    for row in ("| class in transformers | BertForSequenceClassification |", "| --train-data-path | cells.parquet |"):
        assert row in card
    assert f"| macro_f1 | {scores['macro_f1']:.6g} |" in card
    assert str(tmp_path) not in card

    module = load_finetuned(run_dir / "model")
    assert module.head_config.classes == ("type0", "type1", "type2", "type3")
    assert module.head_config.label_column == "cell_type"
    cells = open_tokenized(labeled)
    for row in rows[:5]:
        tokens, _ = cells.read(np.array([int(row["cell_id"])]))
        with torch.no_grad():
            assert module.head_config.classes[int(module(torch.from_numpy(tokens)[None]).argmax())] == row["predicted"]
    assert module.dictionaries.tokenizer.vocab_size == 62
    load_geneformer(run_dir / "model")  # its encoder, for embeddings and perturbations


def finetune_on_ranks(config: FinetuneGeneformerConfig) -> None:
    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    finetune(config)


WITHOUT_GRADIENT = ("linear_qkv.bias", "layers.1.mlp_bda.layer_norm.bias", "head.pooler.bias")
"""What the loss does not depend on: biases of keys, and what standardized cells take off, which the pooler absorbs.
Their gradients are rounding errors, from which Adam makes whole steps."""


@pytest.fixture
def one_thread() -> Iterator[None]:
    """In this process as on the ranks: the last digits depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def assert_same_weights(one: Path, other: Path, tolerance: float) -> None:
    states = [load_finetuned(run_dir / "model").state_dict() for run_dir in (one, other)]
    gaps = {name: (states[0][name] - states[1][name]).abs().max().item() for name in states[0]}
    assert max(gap for name, gap in gaps.items() if not name.endswith(WITHOUT_GRADIENT)) < tolerance, gaps


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("folds", [None, pytest.param(5, marks=pytest.mark.nightly)])
def test_two_ranks_learn_what_one_learns(folds: int | None, pretrained: Path, labeled: Path, tmp_path: Path) -> None:
    """Six cells on each of two ranks are two micro-batches of one: losses, predictions, model, dropout included."""
    common = {"num_epochs": 2, "micro_batch_size": 6, "folds": folds}
    one = finetune(settings(pretrained, labeled, tmp_path, experiment_name="one", accumulate_grad_batches=2, **common))
    config = settings(pretrained, labeled, tmp_path, experiment_name="two", num_gpus=2, **common)
    run_on_ranks(2, finetune_on_ranks, config, process_group=False, timeout_s=200)
    two = tmp_path / "two"
    for part in ("",) if folds is None else tuple(f"fold-{fold}" for fold in range(folds)):
        ours, theirs = (read_metrics(run_dir / part / "metrics.csv") for run_dir in (one, two))
        for name in ("train_loss", "val_loss"):
            np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5, err_msg=name)
        assert_same_weights(one / part, two / part, 1e-4)
    assert sorted(map(str, predictions_of(one))) == sorted(map(str, predictions_of(two)))
    assert scores_of(one) == pytest.approx(scores_of(two))


def written(run_dir: Path) -> dict[str, bytes]:
    """Bytes of the models and of all results, and what was measured in validations."""
    found = {str(path.relative_to(run_dir)): path.read_bytes() for path in run_dir.rglob("model/model.safetensors")}
    found |= {name: (run_dir / name).read_bytes() for name in ("predictions.csv", "scores.json")}
    for path in sorted(run_dir.rglob("metrics.csv")):
        columns = read_metrics(path)
        rows = ~np.isnan(columns["val_loss"])
        for name in ("step", "consumed_tokens", "lr", *(name for name in columns if name.startswith("val_"))):
            found[f"{path.relative_to(run_dir)}: {name}"] = columns[name][rows].tobytes()
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"lora_finetune": True, "lora_rank": 2},
        {"folds": 2},
        {"task_type": "regression", "label_column": "depth", "micro_batch_size": 19, "early_stopping_patience": 1},
    ],
    ids=["adapters", "folds", "regression that stops early, with batches of one cell"],
)
def test_a_stopped_run_is_resumed_to_the_same_bytes(
    changes: dict, pretrained: Path, labeled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"num_epochs": 3, "lr": 1e-2, **changes}
    undisturbed = finetune(settings(pretrained, labeled, tmp_path / "whole", **values))
    steps = []
    plain = HeadLoss.__call__

    def stopping(self, batch, outputs):
        if torch.is_grad_enabled():
            steps.append(1)
            if len(steps) == 7:
                os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, batch, outputs)

    config = settings(pretrained, labeled, tmp_path / "stopped", resume_if_exists=True, **values)
    with monkeypatch.context() as patch:
        patch.setattr(HeadLoss, "__call__", stopping)
        with pytest.raises(RunStopped):
            finetune(config)
    stopped = tmp_path / "stopped/geneformer-finetune"
    assert not (stopped / "scores.json").exists()
    with pytest.raises(ConfigError, match="was trained with weight_decay"):
        finetune(replace(config, weight_decay=0.3))
    assert finetune(config) == stopped
    assert written(stopped) == written(undisturbed)


def finetune_with_one_thread(config: FinetuneGeneformerConfig) -> None:
    torch.set_num_threads(1)
    finetune(config)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.nightly)])
def test_killed_and_rerun_writes_the_same_bytes(kills: int, pretrained: Path, labeled: Path, tmp_path: Path) -> None:
    """SIGKILL at any moment: in training, in a save, between two folds, in the predictions."""
    values = {"folds": 2, "num_epochs": 2, "save_interval": 2, "lora_finetune": True, "lora_rank": 2}
    config = settings(pretrained, labeled, tmp_path, resume_if_exists=True, **values)
    run_dir = tmp_path / "geneformer-finetune"
    undisturbed: dict[str, bytes] = {}

    def check(kill: Kill) -> None:
        if kill.landed:
            return
        undisturbed.update({} if undisturbed else written(run_dir))
        assert "fold-1/model/model.safetensors" in undisturbed
        assert written(run_dir) == undisturbed
        shutil.rmtree(run_dir)

    preload = ("bionemo.geneformer.finetune",)
    kill_runner(finetune_with_one_thread, config, check=check, kills=kills, preload=preload, timeout_s=300)
    finetune(config)  # what the last kill left is used
    assert written(run_dir) == undisturbed


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("changes", [{}, {"lora_finetune": True, "lora_rank": 2}], ids=["the whole model", "adapters"])
def test_sharded_ranks_learn_what_one_process_learns(
    changes: dict, pretrained: Path, labeled: Path, tmp_path: Path
) -> None:
    """Eight steps, stopped after three and resumed."""
    common = {"num_epochs": 1, "micro_batch_size": 6, "lr": 1e-3, **changes}
    one = finetune(settings(pretrained, labeled, tmp_path, experiment_name="one", accumulate_grad_batches=2, **common))
    sharded = {"strategy": "fsdp", "num_gpus": 2, **common}
    config = settings(pretrained, labeled, tmp_path, experiment_name="resumed", resume_if_exists=True, **sharded)
    straight = replace(config, experiment_name="straight")
    for each in (straight, replace(config, early_stop_on_step=3), config):
        run_on_ranks(2, finetune_on_ranks, each, process_group=False, timeout_s=200)
    assert written(tmp_path / "straight") == written(tmp_path / "resumed")
    ours, theirs = (read_metrics(run_dir / "metrics.csv") for run_dir in (one, tmp_path / "straight"))
    assert ours["step"].tolist()[-1] == 8
    for name in ours.keys() - {"tokens_per_s"}:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-5, err_msg=name)
    assert_same_weights(one, tmp_path / "straight", 1e-5)
    state = read_json(tmp_path / "straight/checkpoints/last/training_state/state.json")
    assert (state["strategy"], state["world_size"]) == ("fsdp", 2)


def test_folds_predict_every_labeled_cell_once(pretrained: Path, labeled: Path, tmp_path: Path) -> None:
    run_dir = finetune(settings(pretrained, labeled, tmp_path, label_column="sparse", folds=3, num_epochs=4))
    rows = predictions_of(run_dir)
    assert sorted(int(row["cell_id"]) for row in rows) == list(range(1, 120, 2))
    assert {p.name for p in run_dir.iterdir()} >= {"fold-0", "fold-1", "fold-2"}
    truth, predicted = ([row[key] for row in rows] for key in ("truth", "predicted"))
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    assert scores_of(run_dir)["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(truth, predicted, average="macro"))
    models = [load_finetuned(run_dir / f"fold-{fold}/model").state_dict() for fold in range(3)]
    assert not torch.equal(models[0]["head.classifier.weight"], models[1]["head.classifier.weight"])


def test_validation_cells_of_their_own_from_an_archive(
    cell_files, pretrained: Path, labeled: Path, tmp_path: Path
) -> None:
    run_dir = finetune(
        settings(
            pretrained, cell_files.data_dir / "train", tmp_path, valid_data_path=cell_files.data_dir / "val",
            num_epochs=2,
        )
    )  # fmt: skip
    assert [row["cell_id"] for row in predictions_of(run_dir)] == [f"cell{number}" for number in range(96, 120)]


def test_regression_predicts_values(pretrained: Path, labeled: Path, tmp_path: Path) -> None:
    run_dir = finetune(
        settings(pretrained, labeled, tmp_path, task_type="regression", label_column="depth", num_epochs=20)
    )
    assert scores_of(run_dir)["pearson"] > 0.6, scores_of(run_dir)
    module = load_finetuned(run_dir / "model")
    tokens, _ = open_tokenized(labeled).read(np.array([int(predictions_of(run_dir)[0]["cell_id"])]))
    with torch.no_grad():
        value = module(torch.from_numpy(tokens)[None]).item()
    assert value == pytest.approx(float(predictions_of(run_dir)[0]["predicted"]), rel=1e-4)


def test_gene_classes_are_predicted_for_genes_that_were_held_out(
    cell_files, pretrained: Path, labeled: Path, tmp_path: Path
) -> None:
    genes = cell_files.cells.gene_ids[:40]
    labels = tmp_path / "genes.json"
    labels.write_text(json.dumps({gene: "even" if number % 2 else "odd" for number, gene in enumerate(genes)}))
    run_dir = finetune(
        settings(
            pretrained, labeled, tmp_path, task_type="gene-classification", gene_labels=labels, label_column=None,
            num_epochs=2,
        )
    )  # fmt: skip
    held_out = {int(row["token"]) for row in predictions_of(run_dir)}
    assert len(held_out) == 8
    assert held_out < set(range(2, 42))
    assert load_finetuned(run_dir / "model").head_config.classes == ("even", "odd")


ENCODER = "model.encoder.layers.{}.mlp.linear_fc1.weight"


@pytest.mark.parametrize(
    ("changes", "moved", "kept"),
    [
        ({"lora_finetune": True, "lora_rank": 2}, [ENCODER.format(0)], ["model.embedding.word_embeddings.weight"]),
        ({"encoder_frozen": True}, [], [ENCODER.format(0), ENCODER.format(1)]),
        ({"num_frozen_layers": 1}, [ENCODER.format(1)], [ENCODER.format(0)]),
    ],
    ids=["lora", "frozen encoder", "frozen layer"],
)
def test_what_is_trained(changes: dict, moved: list, kept: list, pretrained, labeled, tmp_path: Path) -> None:
    before = {f"model.{name}": tensor for name, tensor in load_geneformer(pretrained).model.state_dict().items()}
    run_dir = finetune(settings(pretrained, labeled, tmp_path, num_epochs=1, **changes))
    after = load_finetuned(run_dir / "model").state_dict()
    assert all(torch.equal(after[name], before[name]) for name in kept)
    assert not any(torch.equal(after[name], before[name]) for name in moved)


# Bad input: one line, exit code 2, nothing half-written.


BAD = [
    ([], "--task-type cell-classification: needs --label-column"),
    (["--label-column=colour"], "no obs column 'colour'"),
    (["--label-column=one"], "column 'one': has 1 class, expected at least two"),
    (["--label-column=cell_type", "--task-type=regression"], "has the value 'type"),
    (["--label-column=cell_type", "--seq-length=65"], "--seq-length 65: the model has 64 positions"),
    (
        ["--label-column=cell_type", "--encoder-frozen", "--strategy=fsdp"],
        "--encoder-frozen: not with --strategy fsdp",
    ),
    (["--label-column=cell_type", "--folds=1"], "--folds 1: must be at least 2"),
    (["--label-column=cell_type", "--folds=3", "--valid-fraction=.1"], "--folds and --valid-fraction contradict"),
    (["--label-column=cell_type", "--lora-rank=4"], "--lora-rank: has a meaning with --lora-finetune only"),
    (["--label-column=cell_type", "--encoder-frozen", "--lora-finetune"], "--encoder-frozen and --lora-finetune"),
    (["--label-column=cell_type", "--num-frozen-layers=3"], "--num-frozen-layers 3: the model has 2 layers"),
    (["--task-type=gene-classification"], "needs --gene-labels"),
    (["--task-type=gene-classification", "--gene-labels=GENES"], "the vocabulary knows none of its 2 genes"),
    (["--label-column=cell_type", "--valid-data-path=/nowhere"], "/nowhere: there is no such file"),
]


@pytest.mark.parametrize(
    ("flags", "message"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_input(flags: list[str], message: str, pretrained, labeled, tmp_path: Path, capfd) -> None:
    (tmp_path / "genes.json").write_text('{"GENEA": "x", "GENEB": "y"}')
    flags = [flag.replace("GENES", str(tmp_path / "genes.json")) for flag in flags]
    status = run_command(
        main,
        [
            f"--restore-from-checkpoint-path={pretrained}", f"--train-data-path={labeled}", "--accelerator=cpu",
            f"--result-dir={tmp_path / 'runs'}", *flags,
        ],
        prog="finetune_geneformer",
    )  # fmt: skip
    captured = capfd.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("finetune_geneformer: error")]
    assert status == 2, captured.err
    assert len(errors) == 1
    assert message in errors[0]
    assert not list((tmp_path / "runs").rglob("model"))


def test_a_class_that_only_the_validation_cells_have_is_refused(pretrained, labeled, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pq.read_table(labeled)
    types = table.column("cell_type").to_pylist()
    for name, keep in (("train", {"type0", "type1"}), ("valid", {"type0", "type2"})):
        pq.write_table(table.filter([kind in keep for kind in types]), tmp_path / f"{name}.parquet")
    config = settings(pretrained, tmp_path / "train.parquet", tmp_path, valid_data_path=tmp_path / "valid.parquet")
    check_flags(config)
    with pytest.raises(ValueError, match="has the class 'type2', which the training cells lack"):
        finetune(config)
