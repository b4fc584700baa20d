# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning that is stopped, killed, resumed, or shared by two ranks leaves what an undisturbed run leaves."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bionemo.core.errors import ConfigError
from bionemo.esm2.finetuning import loss as loss_module
from bionemo.esm2.finetuning.config import FinetuneESM2Config
from bionemo.esm2.finetuning.finetune import finetune
from bionemo.llm.checkpoints.hf_directory import read_json, read_tensors
from bionemo.llm.checkpoints.weight_files import open_weights
from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.llm.training.stop_requests import RunStopped
from bionemo.testing.kills import kill_runner
from bionemo.testing.multiprocess import run_on_ranks


PRELOAD = ("bionemo.esm2.finetuning.finetune",)
LORA = {"lora_finetune": True, "lora_rank": 2, "lora_alpha": 4.0}


def written(run: Path) -> dict[str, bytes]:
    """Bytes of the weights that count and of all results; of the metrics all but the times."""
    files = [path for name in ("predictions.csv", "scores.json") for path in run.rglob(name)]
    files += [path / "last" / "model.safetensors" for path in run.rglob("checkpoints")]
    found = {str(path.relative_to(run)): path.read_bytes() for path in files}
    for path in sorted(run.rglob("metrics.csv")):
        columns = read_metrics(path)
        columns.pop("tokens_per_s")
        found[str(path.relative_to(run))] = b"".join(columns[name].tobytes() for name in sorted(columns))
    return found


@pytest.mark.parametrize("changes", [{}, LORA, {"encoder_frozen": True, "early_stopping_patience": 1, "lr": 0.1}])
def test_a_stopped_run_is_resumed_to_the_same_bytes(settings, tmp_path: Path, monkeypatch, changes: dict) -> None:
    values = {"num_epochs": 3, "log_every_n_steps": 1, **changes}
    undisturbed = finetune(settings(result_dir=tmp_path / "whole", **values))
    seen = []
    plain = loss_module.HeadLoss.__call__

    def stopping(self, batch, outputs):
        seen.append(1)
        if len(seen) == 17 and torch.is_grad_enabled():
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, batch, outputs)

    config = settings(result_dir=tmp_path / "stopped", resume_if_exists=True, **values)
    with monkeypatch.context() as patch:
        patch.setattr(loss_module.HeadLoss, "__call__", stopping)
        with pytest.raises(RunStopped):
            finetune(config)
    assert not (tmp_path / "stopped" / "esm2-finetune" / "scores.json").exists()
    with pytest.raises(ConfigError, match="was trained with weight_decay"):
        finetune(settings(result_dir=tmp_path / "stopped", resume_if_exists=True, **values, weight_decay=0.3))
    resumed = finetune(config)
    assert written(resumed) == written(undisturbed)


def finetune_all(config: FinetuneESM2Config) -> None:
    torch.set_num_threads(1)  # in children as in this process: the last digits depend on the number of threads
    finetune(config)


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.nightly)])
def test_killed_and_rerun_writes_the_same_bytes(settings, tmp_path: Path, kills: int) -> None:
    config = settings(
        folds=2,
        num_epochs=2,
        save_interval=3,
        log_every_n_steps=1,
        encoder_frozen=True,
        head="linear",
        resume_if_exists=True,
        seed=1,
    )
    run = tmp_path / "esm2-finetune"
    undisturbed: dict[str, bytes] = {}

    def check(kill) -> None:
        if kill.landed:
            return
        undisturbed.update({} if undisturbed else written(run))
        assert len(undisturbed) == 6  # of two folds weights and metrics, predictions and scores of both
        assert written(run) == undisturbed
        shutil.rmtree(run)

    kill_runner(finetune_all, config, check=check, kills=kills, preload=PRELOAD, timeout_s=300)
    finetune_all(config)  # what the last kill left is used
    assert written(run) == undisturbed


def finetune_on_ranks(config: FinetuneESM2Config) -> Path:
    run_on_ranks(config.num_gpus, finetune_all, config, process_group=False, timeout_s=300)
    return config.result_dir / config.experiment_name


@pytest.mark.parametrize(
    "changes",
    [
        {"num_frozen_layers": 1, "label_column": ("value", "kind"), "task_type": ("regression", "classification")},
        {**LORA, "head": "linear"},
        pytest.param({"fsdp_cpu_offload": True, "class_weights": "none"}, marks=pytest.mark.nightly),
    ],
    ids=["frozen layers", "adapters", "on the host"],
)
def test_sharded_ranks_train_as_one_process_and_resume_bit_for_bit(settings, tmp_path: Path, changes: dict) -> None:
    """Ten steps; the run that is compared was stopped after four and resumed."""
    values = {"num_steps": 10, "log_every_n_steps": 1, "val_check_interval": 5, "micro_batch_size": 8, **changes}
    values["lr"] = 1e-3
    sharded = {**values, "strategy": "fsdp", "num_gpus": 2, "resume_if_exists": True}
    one = finetune(
        settings(
            result_dir=tmp_path / "one",
            accumulate_grad_batches=2,
            **{name: value for name, value in values.items() if name != "fsdp_cpu_offload"},
        )
    )
    straight = finetune_on_ranks(settings(result_dir=tmp_path / "straight", **sharded))
    config = settings(result_dir=tmp_path / "resumed", **sharded)
    finetune_on_ranks(replace(config, early_stop_on_step=4))
    resumed = finetune_on_ranks(config)
    metrics = [read_metrics(run / "metrics.csv") for run in (one, straight, resumed)]
    weights = [open_weights(run / "checkpoints" / "last") for run in (one, straight, resumed)]
    assert metrics[0]["step"].tolist() == list(range(1, 11))
    for name in metrics[0].keys() - {"tokens_per_s"}:
        np.testing.assert_allclose(metrics[1][name], metrics[0][name], rtol=1e-5, atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(metrics[2][name], metrics[1][name], err_msg=name)
    assert set(weights[0]) == set(weights[1])
    for name in weights[0]:
        torch.testing.assert_close(weights[1][name], weights[0][name], rtol=0.0, atol=1e-5)
        assert torch.equal(weights[2][name], weights[1][name])
    states = [read_json(run / "checkpoints/last/training_state/state.json") for run in (one, resumed)]
    assert [state.get("strategy") for state in states] == [None, "fsdp"]
    for name in ("predictions.csv", "checkpoints/last/adapter/adapter_model.safetensors"):
        files = [run / name for run in (straight, resumed)]
        assert files[0].exists() == (name == "predictions.csv" or "lora_rank" in changes)
        assert not files[0].exists() or files[0].read_bytes() == files[1].read_bytes()
    if "lora_rank" in changes:  # with the head, which every rank has some rows of
        ours, theirs = (
            read_tensors(run / "checkpoints/last/adapter/adapter_model.safetensors") for run in (straight, one)
        )
        assert ours.keys() == theirs.keys()
        for name, tensor in theirs.items():
            torch.testing.assert_close(ours[name], tensor, rtol=0.0, atol=1e-5)
    scores = [json.loads((run / "scores.json").read_text())["value"] for run in (one, resumed)]
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_frozen": True}, "--encoder-frozen: not with --strategy fsdp"),
        ({"find_lr": True}, "--find-lr: not with --strategy fsdp"),
        ({"precision": "bf16"}, "--precision bf16: fine-tuning keeps its weights in float32. Use bf16-mixed"),
        ({"fsdp_shard_size": 3, "num_gpus": 2}, "--fsdp-shard-size 3: does not divide the 2 ranks"),
    ],
)
def test_what_sharded_ranks_cannot_do_is_refused(settings, tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValueError if "num_gpus" not in changes else RuntimeError, match=message):
        finetune(settings(strategy="fsdp", **changes))
    assert not (tmp_path / "esm2-finetune").exists()


def test_two_ranks_train_and_measure_as_one(settings, tmp_path: Path) -> None:
    values = {"num_epochs": 2, "label_column": ("value", "kind"), "task_type": ("regression", "classification")}
    one = finetune(settings(result_dir=tmp_path / "one", micro_batch_size=8, accumulate_grad_batches=2, **values))
    two = finetune_on_ranks(settings(result_dir=tmp_path / "two", micro_batch_size=8, num_gpus=2, **values))
    first, second = (read_metrics(run / "metrics.csv") for run in (one, two))
    for name in ("step", "consumed_sequences", "train_loss", "val_loss", "val_spearman_value", "val_acc_kind"):
        np.testing.assert_allclose(first[name], second[name], rtol=2e-4, atol=1e-5, err_msg=name)
    weights = [read_tensors(run / "checkpoints" / "last" / "model.safetensors") for run in (one, two)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=0.0, atol=2e-4)
    scores = [json.loads((run / "scores.json").read_text()) for run in (one, two)]
    assert scores[1]["value"]["spearman"] == pytest.approx(scores[0]["value"]["spearman"], abs=0.02)
