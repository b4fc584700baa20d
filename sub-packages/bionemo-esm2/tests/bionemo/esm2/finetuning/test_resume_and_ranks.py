# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning that is stopped, killed, resumed, or shared by two ranks leaves what an undisturbed run leaves."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from bionemo.core.errors import ConfigError
from bionemo.esm2.finetuning import loss as loss_module
from bionemo.esm2.finetuning.config import FinetuneESM2Config
from bionemo.esm2.finetuning.finetune import finetune
from bionemo.llm.checkpoints.hf_directory import read_tensors
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


def test_two_ranks_train_and_measure_as_one(settings, tmp_path: Path) -> None:
    values = {"num_epochs": 2, "label_column": ("value", "kind"), "task_type": ("regression", "classification")}
    one = finetune(settings(result_dir=tmp_path / "one", micro_batch_size=8, accumulate_grad_batches=2, **values))
    config = settings(result_dir=tmp_path / "two", micro_batch_size=8, num_gpus=2, **values)
    run_on_ranks(2, finetune_all, config, process_group=False, timeout_s=300)
    two = tmp_path / "two" / "esm2-finetune"
    first, second = (read_metrics(run / "metrics.csv") for run in (one, two))
    for name in ("step", "consumed_sequences", "train_loss", "val_loss", "val_spearman_value", "val_acc_kind"):
        np.testing.assert_allclose(first[name], second[name], rtol=2e-4, atol=1e-5, err_msg=name)
    weights = [read_tensors(run / "checkpoints" / "last" / "model.safetensors") for run in (one, two)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=0.0, atol=2e-4)
    scores = [json.loads((run / "scores.json").read_text()) for run in (one, two)]
    assert scores[1]["value"]["spearman"] == pytest.approx(scores[0]["value"]["spearman"], abs=0.02)
