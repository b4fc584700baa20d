# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""predict_esm2 killed at any moment, resumed after its last partition, or on two ranks writes the same files."""

import shutil
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch

from bionemo.core.partitioned_output import FINISHED_NAME
from bionemo.core.resumable import PLAN_NAME
from bionemo.esm2 import FinetunedESM2
from bionemo.esm2.finetuning import predict
from bionemo.esm2.finetuning.config import PredictESM2Config
from bionemo.esm2.finetuning.head_config import HeadConfig, Target
from bionemo.esm2.finetuning.head_layout import FinetunedLayout
from bionemo.esm2.finetuning.model_setup import build_module, saved_config
from bionemo.esm2.finetuning.predict import run_prediction
from bionemo.llm.checkpoints.hf_directory import save_checkpoint
from bionemo.testing.kills import kill_runner
from bionemo.testing.multiprocess import run_on_ranks


HEAD = HeadConfig(
    level="residue",
    targets=(Target(column="states", kind="classification", classes=("C", "H")),),
    kind="cnn",
    hidden_size=8,
    dropout=0.0,
)


@pytest.fixture
def config(settings, labeled: Path, tmp_path: Path):
    """Settings of a prediction of all proteins and of one that is none."""
    values = settings(level="residue", task_type="classification", label_column="states")
    save_checkpoint(
        tmp_path / "tuned",
        saved_config(values, module := build_module(values, HEAD, seed=1).on_host()),
        module.state_dict(),
        FinetunedLayout(),
    )
    data = tmp_path / "in.csv"
    data.write_text(labeled.read_text() + "bad,MK5,,,,,,,\n")
    return PredictESM2Config(
        checkpoint_path=tmp_path / "tuned", data_path=data, results_path=tmp_path / "out", on_bad_row="skip",
        accelerator="cpu", csv=True,
    )  # fmt: skip


def predict_all(config: PredictESM2Config) -> None:
    torch.set_num_threads(1)  # in children as in this process: the last digits depend on the number of threads
    with mock.patch.object(predict, "TOKENS_PER_PARTITION", 500):
        run_prediction(config)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in (PLAN_NAME, FINISHED_NAME))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.nightly)])
def test_killed_and_rerun_writes_the_same_bytes(config: PredictESM2Config, kills: int) -> None:
    target = config.results_path
    undisturbed: dict[str, bytes] = {}

    def check(kill) -> None:
        if not target.exists():
            return
        undisturbed.update({} if undisturbed else contents(target))
        assert contents(target) == undisturbed
        shutil.rmtree(target)

    preload = ("bionemo.esm2.finetuning.predict",)
    kill_runner(predict_all, config, check=check, kills=kills, preload=preload)
    predict_all(config)  # what the last kill left is used
    assert contents(target) == undisturbed
    assert sorted(undisturbed) == ["config.yaml", "predictions.csv", "predictions.parquet", "rejected.csv"]


def test_a_run_resumed_after_its_last_partition_and_one_on_two_ranks_leave_the_same(
    config: PredictESM2Config, labeled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(predict, "write_csv", mock.Mock(side_effect=OSError("no space left")))
        with pytest.raises(OSError, match="no space left"):
            predict_all(config)
    predict_all(config)
    resumed = contents(config.results_path)
    assert resumed["rejected.csv"].decode().splitlines()[1].startswith(f"{config.data_path},121,bad,")
    shutil.rmtree(config.results_path)
    run_on_ranks(2, predict_all, replace(config, num_gpus=2), process_group=False)
    shared = contents(config.results_path)
    assert {**shared, "config.yaml": b""} == {**resumed, "config.yaml": b""}
    states = [line.split(",")[3] for line in shared["predictions.csv"].decode().splitlines()[1:]]
    sequences = [line.split(",")[1] for line in labeled.read_text().splitlines()[1:]]
    model = FinetunedESM2.from_pretrained(config.checkpoint_path, device="cpu", precision="auto")
    assert ["".join(letters) for letters in model.predict(sequences)] == states
