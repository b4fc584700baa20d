# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Resumed and diverged runs of a tiny ESM-2: what is kept, what may change, whose checkpoints count."""

import fcntl
import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributed import TCPStore

from bionemo.core.config import parse
from bionemo.core.errors import BionemoError, CheckpointError, ConfigError
from bionemo.esm2.train import train
from bionemo.esm2.train_config import TrainESM2Config, check_flags
from bionemo.llm.checkpoints.hf_directory import read_tensors
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.training.callbacks import draw_loss_plot
from bionemo.llm.training.checkpoint_writer import CheckpointWriter
from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.testing.data.fasta import write_fasta
from bionemo.testing.multiprocess import run_on_ranks
from bionemo.testing.proteins import make_proteins
from bionemo.testing.skewed_clocks import skewed_clocks


NUM_STEPS = 6


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fasta(tmp_path_factory.mktemp("data") / "proteins.fasta", make_proteins(80, num_families=4))


def tiny(fasta: Path, result_dir: Path, **changes) -> TrainESM2Config:
    settings = {
        "train_fasta": fasta, "result_dir": result_dir, "num_steps": NUM_STEPS, "val_check_interval": 3,
        "save_interval": 2, "log_every_n_steps": 1, "tokens_per_batch": 256, "max_seq_length": 128,
        "num_dataset_workers": 0, "accelerator": "cpu", "num_layers": 1, "hidden_size": 16, "num_attention_heads": 2,
        "ffn_hidden_size": 32,
    }  # fmt: skip
    return TrainESM2Config(**{**settings, **changes})


@pytest.fixture(scope="module")
def finished_run(fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(fasta, tmp_path_factory.mktemp("finished"), save_interval=3))


@pytest.fixture
def run_dir(finished_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_run, tmp_path / "esm2", symlinks=True)
    return tmp_path / "esm2"


def state_of(checkpoint: Path) -> dict:
    return read_json(checkpoint / "training_state/state.json")


# Asked and derived settings lie apart.


def test_a_reused_configuration_is_derived_anew(run_dir: Path, tmp_path: Path) -> None:
    argv = [f"--config={run_dir / 'config.yaml'}", "--max-steps=60", "--early-stop-on-step=1"]
    config = parse(TrainESM2Config, [*argv, f"--result-dir={tmp_path / 'more'}"])
    assert config.warmup_steps is config.scheduler_num_steps is None
    schedule = state_of(train(config) / "checkpoints/last")["schedule"]
    assert (schedule["warmup_steps"], schedule["max_steps"]) == (6, 60)
    asked = (run_dir / "config.yaml").read_text()
    assert "warmup_steps: null" in asked
    derived = (run_dir / "resolved.yaml").read_text()
    assert "max_tokens: 256" in derived
    assert "warmup_steps: 0" in derived


def test_a_reused_configuration_takes_another_batch_size(run_dir: Path) -> None:
    assert "tokens_per_batch: 256" in (run_dir / "config.yaml").read_text()
    config = parse(TrainESM2Config, [f"--config={run_dir / 'config.yaml'}", "--micro-batch-size=4"])
    check_flags(config)
    assert (config.tokens_per_batch, config.micro_batch_size) == (None, 4)


# More steps, another rate.


def test_more_steps_keep_the_schedule_and_name_their_rate(fasta: Path, run_dir: Path, tmp_path: Path, caplog) -> None:
    train(tiny(fasta, tmp_path, resume_if_exists=True, num_steps=NUM_STEPS + 2))
    assert "steps 7 to 8 lie beyond the schedule's 6 steps: they have learning rate 4e-05" in caplog.text
    metrics = read_metrics(run_dir / "metrics.csv")
    assert metrics["step"].tolist() == list(range(1, NUM_STEPS + 3))
    assert metrics["lr"][-1] == pytest.approx(4e-5)
    assert state_of(run_dir / "checkpoints/last")["schedule"]["max_steps"] == NUM_STEPS


def test_a_schedule_is_planned_anew_when_flags_say_so(fasta: Path, run_dir: Path, tmp_path: Path, caplog) -> None:
    config = tiny(fasta, tmp_path, resume_if_exists=True, num_steps=12, scheduler_num_steps=12, lr=1e-4)
    train(config)
    assert "--scheduler-num-steps 12: replaces the schedule's max_steps 6 from step 6 on" in caplog.text
    assert "--lr 0.0001: replaces the schedule's max_lr 0.0004" in caplog.text
    lr = read_metrics(run_dir / "metrics.csv")["lr"]
    np.testing.assert_allclose(lr[NUM_STEPS : NUM_STEPS + 2], [1e-4 * (1 - 7 / 12), 1e-4 * (1 - 8 / 12)])
    caplog.clear()
    train(config)  # the same command again changes nothing
    assert "replaces" not in caplog.text


def test_a_restart_resumes_from_the_newest_checkpoint_of_the_run(
    fasta: Path, run_dir: Path, tmp_path: Path, caplog, monkeypatch
) -> None:
    """Torchrun repeats the command, --resume-from included; its store knows that the run has begun."""
    agent = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for name, value in {"RUN_ID": "job", "USE_AGENT_STORE": "True"}.items():
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(agent.port))
    for name in ("RANK", "LOCAL_RANK", "GROUP_RANK"):
        monkeypatch.setenv(name, "0")
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "1")
    start = RunDirectory(run_dir).latest_checkpoint()
    config = tiny(fasta, tmp_path, resume_from=start, num_steps=NUM_STEPS + 2, lr=1e-4)
    train(config)
    caplog.clear()
    caplog.set_level(logging.INFO)
    train(replace(config, num_steps=NUM_STEPS + 4))
    assert f"resuming from step {NUM_STEPS + 2} (" in caplog.text
    assert "kept as" not in caplog.text
    assert read_metrics(run_dir / "metrics.csv")["step"].tolist() == list(range(1, NUM_STEPS + 5))


def test_another_precision_is_said(fasta: Path, run_dir: Path, tmp_path: Path, caplog) -> None:
    train(tiny(fasta, tmp_path, resume_if_exists=True, num_steps=NUM_STEPS + 1, precision="bf16-mixed"))
    assert "the run was trained in 32-true, from here on in bf16-mixed" in caplog.text


# The checkpoint is the truth about the model.


def test_a_run_that_began_from_weights_resumes(fasta: Path, finished_run: Path, tmp_path: Path) -> None:
    start = finished_run / "checkpoints/last"
    config = replace(tiny(fasta, tmp_path), num_layers=33, hidden_size=1280, num_attention_heads=20)
    config = replace(config, ffn_hidden_size=5120, init_from_hf=start)  # defaults: nothing was said about the shape
    train(replace(config, early_stop_on_step=2))
    for changes in ({}, {"init_from_hf": None}):
        run_dir = train(replace(config, resume_if_exists=True, early_stop_on_step=4, **changes))
    assert read_json(run_dir / "checkpoints/last/config.json")["num_hidden_layers"] == 1
    assert "num_layers: 1" in (run_dir / "resolved.yaml").read_text()
    assert state_of(run_dir / "checkpoints/last")["progress"]["step"] == 4


def test_flags_that_contradict_the_weights_are_refused() -> None:
    config = parse(TrainESM2Config, ["--train-fasta=x", "--model=35M", "--init-from-hf=hf"])
    with pytest.raises(ConfigError, match="--init-from-hf and --model contradict each other"):
        check_flags(config)


# Whose checkpoints count.


def test_nothing_to_resume_is_said_and_old_metrics_are_kept(
    fasta: Path, run_dir: Path, tmp_path: Path, caplog
) -> None:
    before = (run_dir / "metrics.csv").read_bytes()
    shutil.rmtree(run_dir / "checkpoints")
    train(tiny(fasta, tmp_path, resume_if_exists=True, early_stop_on_step=1))
    assert "--resume-if-exists found no checkpoint there; starting at step 0" in caplog.text
    assert (run_dir / "metrics.old-1.csv").read_bytes() == before
    assert read_metrics(run_dir / "metrics.csv")["step"].tolist() == [1]


def test_checkpoints_of_another_run_are_refused(fasta: Path, run_dir: Path, tmp_path: Path) -> None:
    (run_dir / "config.yaml").unlink()
    with pytest.raises(ConfigError, match="holds step-00000006 of another run"):
        train(tiny(fasta, tmp_path))
    resolved = (run_dir / "resolved.yaml").read_text()
    (run_dir / "resolved.yaml").write_text("run_id: 0123\n" + resolved.partition("\n")[2])
    with pytest.raises(
        CheckpointError, match=r"step-0000000\d: was written by another run \(\w{32}\), .* is run 0123"
    ):
        train(tiny(fasta, tmp_path, resume_if_exists=True))


def test_a_checkpoint_without_an_id_resumes_with_a_warning(fasta: Path, run_dir: Path, tmp_path: Path, caplog) -> None:
    for checkpoint in RunDirectory(run_dir).checkpoints():
        state = state_of(checkpoint)
        del state["run_id"], state["precision"]
        (checkpoint / "training_state/state.json").write_text(json.dumps(state))
        (checkpoint / "checksums.json").unlink()
    train(tiny(fasta, tmp_path, resume_if_exists=True, num_steps=NUM_STEPS + 1))
    assert "carries no run id" in caplog.text


def test_a_damaged_checkpoint_names_a_whole_one_that_resumes(fasta: Path, run_dir: Path, tmp_path: Path) -> None:
    newest, older = RunDirectory(run_dir).checkpoints()[::-1][:2]
    os.truncate(newest / "model.safetensors", 100)
    config = tiny(fasta, tmp_path, resume_if_exists=True, num_steps=NUM_STEPS + 1)
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: 100 bytes.*{older.name} is whole.*--resume-from"):
        train(config)
    train(replace(config, resume_if_exists=False, resume_from=older))
    assert [path.name for path in RunDirectory(run_dir).checkpoints()][-1] == "step-00000007"
    assert len(list((run_dir / "checkpoints").glob(f"{newest.name}.replaced-*"))) == 1
    step = int(older.name.removeprefix("step-"))
    assert read_metrics(run_dir / "metrics.csv")["step"].tolist() == list(range(1, NUM_STEPS + 2))
    assert step < NUM_STEPS


# Divergence, failures, locks.


def test_a_diverged_run_keeps_its_last_good_checkpoint(fasta: Path, tmp_path: Path) -> None:
    config = tiny(fasta, tmp_path, num_steps=20, log_every_n_steps=20, val_check_interval=20, save_interval=1)
    run_dir = train(replace(config, early_stop_on_step=2))
    broken = replace(config, lr=1e39, warmup_steps=0, resume_if_exists=True)
    with pytest.raises(BionemoError, match=r"not finite after step \d+: not saved\. The last good checkpoint is") as e:
        train(broken)
    assert e.value.exit_code == 1
    last = RunDirectory(run_dir).checkpoints()[-1]
    assert str(last) in str(e.value)
    assert all(torch.isfinite(tensor).all() for tensor in read_tensors(last / "model.safetensors").values())
    train(replace(config, lr=1e-4, resume_if_exists=True))
    assert RunDirectory(run_dir).checkpoints()[-1].name == "step-00000020"


def test_steps_without_a_label_have_no_loss(fasta: Path, tmp_path: Path) -> None:
    run_dir = train(tiny(fasta, tmp_path, num_steps=3, mask_prob=1e-9))
    assert np.isnan(read_metrics(run_dir / "metrics.csv")["train_loss"]).all()
    assert "nan" not in (run_dir / "metrics.csv").read_text().lower()
    state = (run_dir / "checkpoints/last/training_state/state.json").read_text()
    assert "NaN" not in state
    assert "train_loss" not in json.loads(state)["metrics"]


def test_a_picture_never_ends_a_run(fasta: Path, tmp_path: Path, caplog, monkeypatch) -> None:
    def fail(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(f"{CheckpointWriter.__module__.rpartition('.')[0]}.callbacks.{draw_loss_plot.__name__}", fail)
    run_dir = train(tiny(fasta, tmp_path, num_steps=2))
    assert "loss.png: not drawn (no space left)" in caplog.text
    assert RunDirectory(run_dir).latest_checkpoint().name == "step-00000002"


def test_a_failed_start_leaves_no_run(fasta: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        train(tiny(fasta, tmp_path, restore_from_checkpoint_path=tmp_path / "nowhere"))
    assert [path for path in (tmp_path / "esm2").iterdir() if path.name != "data"] == []
    train(tiny(fasta, tmp_path, early_stop_on_step=1))


def test_a_locked_folder_is_refused_and_names_its_holder(fasta: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "esm2")
    with run.locked(resume=False):
        with pytest.raises(ConfigError, match=rf"process {os.getpid()} on .* is training in this folder"):
            train(tiny(fasta, tmp_path))
    assert not run.path.exists()


def test_a_file_system_without_locks_is_said(fasta: Path, tmp_path: Path, caplog, monkeypatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *args: (_ for _ in ()).throw(OSError("not supported")))
    with RunDirectory(tmp_path / "esm2").locked(resume=False):
        assert "no file locks here" in caplog.text


# By steps and by time, whatever else is done.


def test_saves_do_not_depend_on_validation(fasta: Path, tmp_path: Path) -> None:
    config = tiny(fasta, tmp_path, num_steps=4, val_check_interval=2, limit_val_batches=0, save_last_checkpoint=False)
    run_dir = train(config)
    assert RunDirectory(run_dir).latest_checkpoint().name == "step-00000004"


def test_saves_by_time(fasta: Path, tmp_path: Path, monkeypatch) -> None:
    seconds = iter(range(0, 10_000, 100))
    monkeypatch.setattr("bionemo.llm.training.checkpoint_writer.time.monotonic", lambda: float(next(seconds)))
    config = tiny(fasta, tmp_path, save_interval=100, val_check_interval=100, save_last_checkpoint=False)
    run_dir = train(replace(config, save_every_minutes=6.0))  # a second read of the clock for each save
    assert RunDirectory(run_dir).latest_checkpoint().name == "step-00000004"
    assert not (run_dir / "checkpoints/best").exists()


def train_with_a_skewed_clock(config: TrainESM2Config) -> list[int]:
    """The second rank's clock is far ahead; gives the steps at which this rank has saved."""
    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    logging.disable(logging.INFO)
    try:
        with skewed_clocks() as saved:
            train(config)
    finally:
        torch.distributed.destroy_process_group()
    return saved


def test_one_clock_decides_for_all_ranks(fasta: Path, tmp_path: Path) -> None:
    config = tiny(fasta, tmp_path, num_gpus=2, save_interval=100, val_check_interval=100, save_every_minutes=6.0)
    steps = run_on_ranks(2, train_with_a_skewed_clock, config, process_group=False, timeout_s=120)
    assert steps == [[4, 6], [4, 6]]
