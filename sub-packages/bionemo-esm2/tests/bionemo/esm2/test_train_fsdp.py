# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Sharded ranks (FSDP2) against one process: the same losses and weights, exact resume, on real gloo ranks."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import EsmForMaskedLM

from bionemo.core.errors import CheckpointError
from bionemo.core.files import is_leftover
from bionemo.esm2.train import train
from bionemo.esm2.train_config import TrainESM2Config
from bionemo.llm.checkpoints.hf_directory import read_json, read_tensors, verify_checksums
from bionemo.llm.checkpoints.weight_files import open_weights
from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.testing.data.fasta import write_fasta
from bionemo.testing.multiprocess import RanksFailedError, run_on_ranks, warm_pool
from bionemo.testing.proteins import make_proteins


NUM_STEPS = 10


@pytest.fixture(scope="module", autouse=True)
def warm_ranks() -> None:
    warm_pool("bionemo.esm2.train", "bionemo.llm.training.lightning_engine")


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fasta(tmp_path_factory.mktemp("data") / "proteins.fasta", make_proteins(160, num_families=4))


def tiny(fasta: Path, result_dir: Path, **changes: Any) -> TrainESM2Config:
    settings: dict[str, Any] = {
        "train_fasta": fasta,
        "result_dir": result_dir,
        "num_steps": NUM_STEPS,
        "val_check_interval": 5,
        "log_every_n_steps": 1,
        "tokens_per_batch": 256,
        "max_seq_length": 128,
        "limit_val_batches": 1.0,
        "num_dataset_workers": 0,
        "accelerator": "cpu",
        "num_layers": 3,
        "hidden_size": 32,
        "num_attention_heads": 4,
        "ffn_hidden_size": 64,
    }
    return TrainESM2Config(**{**settings, **changes})


def train_part(config: TrainESM2Config) -> None:
    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    train(config)


def train_on_ranks(config: TrainESM2Config) -> Path:
    run_on_ranks(config.num_gpus, train_part, config, process_group=False, timeout_s=200)
    return config.result_dir / config.experiment_name


def assert_same_training(one: Path, other: Path, tolerance: float = 1e-5) -> None:
    """Compare all rows of metrics.csv, and the weights at the end."""
    first, second = read_metrics(one / "metrics.csv"), read_metrics(other / "metrics.csv")
    for name in ("step", "consumed_samples", "consumed_sequences", "consumed_tokens", "lr"):
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    for name in ("train_loss", "val_loss", "val_loss_masked"):
        np.testing.assert_allclose(first[name], second[name], rtol=0, atol=tolerance, err_msg=name)
    ours, theirs = (open_weights(run_dir / "checkpoints/last") for run_dir in (one, other))
    assert set(ours) == set(theirs)
    gaps = {name: (ours[name] - theirs[name]).abs().max().item() for name in ours}
    assert max(gaps.values()) <= tolerance, max(gaps, key=gaps.__getitem__)


@pytest.fixture(scope="module")
def one_process(fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four packs a step on one process: the same packs as two on each of two ranks."""
    return train(tiny(fasta, tmp_path_factory.mktemp("one"), accumulate_grad_batches=4))


LAYOUTS: dict[str, dict[str, Any]] = {
    "two ranks that accumulate": {"num_gpus": 2, "accumulate_grad_batches": 2},
    "four ranks": {"num_gpus": 4},
    "two copies on two ranks each": {"num_gpus": 4, "fsdp_shard_size": 2},
    "parameters on the host": {"num_gpus": 2, "accumulate_grad_batches": 2, "fsdp_cpu_offload": True},
    "one rank": {"num_gpus": 1, "accumulate_grad_batches": 4},
    "layers recomputed": {"num_gpus": 2, "accumulate_grad_batches": 2, "recompute": "full"},
    "attention recomputed, four ranks": {"num_gpus": 4, "recompute": "selective"},
}
QUICK = ("two ranks that accumulate", "layers recomputed")


def sharded(name: str, fasta: Path, result_dir: Path, **changes: Any) -> TrainESM2Config:
    return tiny(fasta, result_dir, strategy="fsdp", **LAYOUTS[name], **changes)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.nightly) for name in LAYOUTS]
)
def test_sharded_ranks_train_the_same_model(name: str, fasta: Path, one_process: Path, tmp_path: Path) -> None:
    run_dir = train_on_ranks(sharded(name, fasta, tmp_path))
    assert_same_training(one_process, run_dir)
    checkpoint = run_dir / "checkpoints/last"
    verify_checksums(checkpoint)
    state = read_json(checkpoint / "training_state/state.json")
    assert (state["strategy"], state["world_size"]) == ("fsdp", LAYOUTS[name]["num_gpus"])
    model = EsmForMaskedLM.from_pretrained(checkpoint)
    weights = open_weights(one_process / "checkpoints/last")
    name = "lm_head.dense.weight"
    torch.testing.assert_close(model.state_dict()[name], weights[name], rtol=0, atol=1e-5)


def test_resumed_ranks_continue_bit_for_bit_and_other_layouts_within_rounding(
    fasta: Path, one_process: Path, tmp_path: Path
) -> None:
    """Saved by a thread of each rank while training continued; resumed sharded, by one process, and sharded again."""
    config = sharded(QUICK[0], fasta, tmp_path / "first", save_interval=1, ckpt_async_save=True)
    stopped = train_on_ranks(replace(config, early_stop_on_step=4))
    assert not [path for path in (stopped / "checkpoints").iterdir() if is_leftover(path)]
    shutil.copytree(stopped, tmp_path / "one/esm2", symlinks=True)
    resumed = train_on_ranks(replace(config, resume_if_exists=True))
    straight = train_on_ranks(replace(config, result_dir=tmp_path / "straight", ckpt_async_save=False))
    assert_same_training(straight, resumed, tolerance=0.0)
    alone = tiny(fasta, tmp_path / "one", accumulate_grad_batches=4, resume_if_exists=True)
    train(replace(alone, early_stop_on_step=7))
    back = replace(config, result_dir=tmp_path / "one", resume_if_exists=True)
    assert_same_training(one_process, train_on_ranks(back))


def test_a_thread_writes_the_checkpoints_of_one_process_too(fasta: Path, one_process: Path, tmp_path: Path) -> None:
    config = tiny(fasta, tmp_path, accumulate_grad_batches=4, save_interval=1, ckpt_async_save=True)
    train(replace(config, early_stop_on_step=4))
    run_dir = train(replace(config, resume_if_exists=True))
    assert_same_training(one_process, run_dir, tolerance=0.0)
    ours, theirs = (path / "checkpoints/last" for path in (run_dir, one_process))
    verify_checksums(ours)
    for name in ("model.safetensors", "config.json"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    tensors = [read_tensors(path / "training_state/optimizer.safetensors") for path in (ours, theirs)]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


@pytest.mark.nightly
def test_one_process_keeps_its_threads_and_its_environment(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before, threads = dict(os.environ), torch.get_num_threads()
    train(tiny(fasta, tmp_path, strategy="fsdp", num_steps=1))
    assert torch.get_num_threads() == threads
    assert os.environ.keys() - before.keys() <= {"TORCHINDUCTOR_CACHE_DIR"}


def test_other_numbers_of_ranks_consume_every_pack_once(fasta: Path, tmp_path: Path) -> None:
    """Two steps on 4 ranks, two on 2, two on 3: the 18 packs that one process consumes in 18 steps."""
    done = 0
    for num_ranks in (4, 2, 3):
        done += 2
        config = tiny(fasta, tmp_path, strategy="fsdp", num_gpus=num_ranks, early_stop_on_step=done)
        run_dir = train_on_ranks(replace(config, resume_if_exists=done > 2))
    alone = train(tiny(fasta, tmp_path / "alone", num_steps=18))
    ours, theirs = (
        read_json(run / "checkpoints/last/training_state/state.json")["progress"] for run in (run_dir, alone)
    )
    assert (ours.pop("step"), theirs.pop("step")) == (6, 18)
    assert ours == theirs


@pytest.mark.nightly
def test_half_precision_keeps_float32_weights(fasta: Path, one_process: Path, tmp_path: Path) -> None:
    run_dir = train_on_ranks(sharded(QUICK[0], fasta, tmp_path, precision="bf16-mixed"))
    ours, theirs = (read_metrics(path / "metrics.csv")["train_loss"] for path in (run_dir, one_process))
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    assert not np.array_equal(ours, theirs)
    weights = open_weights(run_dir / "checkpoints/last")
    assert {weights[name].dtype for name in weights} == {torch.float32}


def train_with_other_settings(config: TrainESM2Config, changes: dict[str, Any]) -> None:
    train_part(replace(config, **changes) if os.environ["RANK"] == "1" else config)


def test_ranks_with_other_settings_or_other_files_are_named(fasta: Path, one_process: Path, tmp_path: Path) -> None:
    """A rank that sees another folder than the first one finds a checkpoint there."""
    config = sharded(QUICK[0], fasta, tmp_path, resume_if_exists=True)
    for changes, message in (
        ({"lr": 1e-3}, r"rank 1 was started with lr = 0.001, rank 0 with 0.0004"),
        ({"result_dir": one_process.parent}, r"rank 1 was started with start_step = 10, rank 0 with 0"),
    ):
        with pytest.raises(RanksFailedError, match=message):
            run_on_ranks(2, train_with_other_settings, config, changes, process_group=False)
        assert not (tmp_path / "esm2/config.yaml").exists()


def test_a_checkpoint_of_another_shape_and_a_damaged_one_are_refused_before_training(
    fasta: Path, one_process: Path, tmp_path: Path
) -> None:
    shutil.copytree(one_process, tmp_path / "esm2", symlinks=True)
    config = tiny(fasta, tmp_path, strategy="fsdp", accumulate_grad_batches=4, resume_if_exists=True, num_steps=12)
    with pytest.raises(ValueError, match="holds a model of another shape than the flags describe"):
        train(replace(config, num_layers=4))
    optimizer = RunDirectory(tmp_path / "esm2").checkpoints()[-1] / "training_state/optimizer.safetensors"
    optimizer.write_bytes(optimizer.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"optimizer.safetensors.*truncated"):
        train(config)
