# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The megatron engine against the lightning one: every layout trains the same model, on real ranks without a GPU."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

import bionemo.llm.training.resolve
from bionemo.core.errors import ParallelismError
from bionemo.core.files import is_leftover
from bionemo.esm2.scripts.train_esm2 import main
from bionemo.esm2.train import train
from bionemo.esm2.train_config import TrainESM2Config
from bionemo.llm.checkpoints.consolidate import consolidate
from bionemo.llm.checkpoints.hf_directory import read_json, read_tensors
from bionemo.llm.checkpoints.shards import ShardReader
from bionemo.llm.model.compiled import compile_layers
from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.stop_requests import RunStopped
from bionemo.testing.assert_optimizer_grads_match import assert_optimizer_states_match
from bionemo.testing.data.fasta import write_fasta
from bionemo.testing.exact_attention import exact_attention_kernel
from bionemo.testing.megatron_on_cpu import megatron_on_cpu
from bionemo.testing.multiprocess import RanksFailedError, run_on_ranks, warm_pool
from bionemo.testing.network_ports import free_port
from bionemo.testing.proteins import make_proteins
from bionemo.testing.skewed_clocks import skewed_clocks


try:
    version("nemo-toolkit")
except PackageNotFoundError:
    pytest.skip("the megatron engine needs NeMo, which is in .venv-nemo", allow_module_level=True)

pytestmark = pytest.mark.nemo_env

NUM_STEPS = 10
PRELOAD = (
    "bionemo.esm2.train",
    "bionemo.llm.megatron.engine",
    "nemo.lightning.pytorch.strategies",
    "bionemo.testing.megatron_on_cpu",
)


@pytest.fixture(scope="module", autouse=True)
def ranks_with_nemo() -> None:
    """Import NeMo once, before the ranks are forked."""
    warm_pool(*PRELOAD)


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fasta(tmp_path_factory.mktemp("data") / "proteins.fasta", make_proteins(160, num_families=4))


def tiny(fasta: Path, result_dir: Path, **changes: Any) -> TrainESM2Config:
    settings = {
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
        "num_layers": 2,
        "hidden_size": 32,
        "num_attention_heads": 4,
        "ffn_hidden_size": 64,
    }
    return TrainESM2Config(**{**settings, **changes})


def train_part(config: TrainESM2Config) -> None:
    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    with megatron_on_cpu():
        train(config)


def train_on_ranks(config: TrainESM2Config, num_ranks: int) -> Path:
    run_on_ranks(num_ranks, train_part, config, process_group=False, timeout_s=200)
    return config.result_dir / config.experiment_name


@pytest.fixture(scope="module")
def lightning_run(fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two packs a step on one process: the same packs as one on each of two data-parallel ranks."""
    config = tiny(fasta, tmp_path_factory.mktemp("lightning"), accumulate_grad_batches=2)
    return train(config)


LAYOUTS = {
    "one": (1, {"engine": "megatron"}),
    "tensor": (2, {"tensor_model_parallel_size": 2}),
    "sequence": (2, {"tensor_model_parallel_size": 2, "sequence_parallel": True}),
    "pipeline": (2, {"pipeline_model_parallel_size": 2}),
    "context": (2, {"context_parallel_size": 2}),
    "data": (2, {"engine": "megatron"}),
    "data, gather not overlapped": (2, {"engine": "megatron", "overlap_param_gather": False}),
    "data, nothing overlapped": (2, {"engine": "megatron", "overlap_grad_reduce": False}),
    "data, plain optimizer": (2, {"engine": "megatron", "use_distributed_optimizer": False}),
    "tensor and data": (4, {"tensor_model_parallel_size": 2}),
    "tensor and data, plain optimizer": (4, {"tensor_model_parallel_size": 2, "use_distributed_optimizer": False}),
    "tensor and pipeline": (
        4,
        {"tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 2, "sequence_parallel": True},
    ),
    "context and pipeline": (4, {"context_parallel_size": 2, "pipeline_model_parallel_size": 2}),
}


def layout_config(name: str, fasta: Path, result_dir: Path, **changes: Any) -> tuple[TrainESM2Config, int]:
    num_ranks, settings = LAYOUTS[name]
    model_ranks = 1
    for size in ("tensor_model_parallel_size", "pipeline_model_parallel_size", "context_parallel_size"):
        model_ranks *= settings.get(size, 1)
    packs = 2 * model_ranks // num_ranks  # of each rank, so that a step has two
    return tiny(fasta, result_dir, num_gpus=num_ranks, accumulate_grad_batches=packs, **settings, **changes), num_ranks


def assert_same_training(one: Path, other: Path, tolerance: float = 1e-5) -> None:
    first, second = read_metrics(one / "metrics.csv"), read_metrics(other / "metrics.csv")
    for name in ("step", "consumed_samples", "consumed_sequences", "consumed_tokens", "lr"):
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    for name in ("train_loss", "val_loss", "val_loss_masked", "val_ppl"):
        limit = tolerance * (40 if name == "val_ppl" else 1)
        np.testing.assert_allclose(first[name], second[name], rtol=0, atol=limit, err_msg=name)


def assert_same_weights(one: Path, other: Path, tolerance: float = 1e-5) -> None:
    ours, theirs = (read_tensors(path / "model.safetensors") for path in (one, other))
    assert ours.keys() == theirs.keys()
    gaps = {name: (ours[name] - theirs[name]).abs().max().item() for name in ours}
    assert max(gaps.values()) < tolerance, max(gaps, key=gaps.__getitem__)


@pytest.fixture(scope="module")
def deep_run(fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four layers, for stages of several pieces."""
    config = tiny(fasta, tmp_path_factory.mktemp("deep"), accumulate_grad_batches=2, num_layers=4)
    return train(config)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_trains_the_same_model(name: str, fasta: Path, lightning_run: Path, tmp_path: Path) -> None:
    config, num_ranks = layout_config(name, fasta, tmp_path)
    run_dir = train_on_ranks(config, num_ranks)
    assert_same_training(lightning_run, run_dir)
    whole = consolidate(run_dir, tmp_path / "whole")
    assert_same_weights(lightning_run / "checkpoints/last", whole)
    card = (whole / "README.md").read_text()  # that of the checkpoint in shards
    assert f"| optimizer steps | {NUM_STEPS} |" in card
    assert f"| training engine | megatron, {num_ranks} rank" in card


def names_of_a_launch() -> set[str]:
    return {name for name in os.environ if "RANK" in name or "WORLD_SIZE" in name or "MASTER" in name}


def train_unlaunched(config: TrainESM2Config) -> set[str]:
    for name in names_of_a_launch():
        del os.environ[name]
    with megatron_on_cpu():
        train(config)
    return names_of_a_launch()


def test_one_process_leaves_no_variable_of_a_launch_behind(fasta: Path, tmp_path: Path) -> None:
    """What a later run in this process, or in one that it starts, would take for its own rank and port."""
    config = tiny(fasta, tmp_path, engine="megatron", num_steps=1)
    assert run_on_ranks(1, train_unlaunched, config, process_group=False, timeout_s=200) == [set()]


def train_one_after_the_other(configs: list[TrainESM2Config]) -> None:
    for config in configs:
        train_part(config)


def test_processes_train_again_with_another_engine_and_another_layout(fasta: Path, tmp_path: Path) -> None:
    """A process group of an earlier run, with no groups of Megatron's or with others, is divided anew."""
    layouts: list[dict[str, Any]] = [
        {"strategy": "fsdp"},
        {"engine": "megatron"},
        {"tensor_model_parallel_size": 2, "accumulate_grad_batches": 2},
    ]
    configs = [
        tiny(fasta, tmp_path / str(number), num_gpus=2, num_steps=2, val_check_interval=2, **layout)
        for number, layout in enumerate(layouts)
    ]
    run_on_ranks(2, train_one_after_the_other, configs, process_group=False, timeout_s=200)
    losses = [read_metrics(config.result_dir / "esm2/metrics.csv")["train_loss"] for config in configs]
    for other in losses[1:]:
        np.testing.assert_allclose(other, losses[0], rtol=0, atol=1e-5)


def layers_in(shard: Path) -> set[int]:
    names = (name.removeprefix("optimizer.state.exp_avg.") for name in read_tensors(shard))
    return {int(name.split(".")[2]) for name in names if name.startswith("encoder.layers.")}


PIECES = {
    "num_gpus": 2,
    "pipeline_model_parallel_size": 2,
    "virtual_pipeline_model_parallel_size": 2,
    "num_layers": 4,
}


def test_stages_in_pieces_train_the_same_model_and_others_go_on_with_it(
    fasta: Path, deep_run: Path, tmp_path: Path
) -> None:
    config = tiny(fasta, tmp_path, accumulate_grad_batches=2, early_stop_on_step=5, **PIECES)
    stopped = train_on_ranks(config, 2)
    assert layers_in(stopped / "checkpoints/last/shards/rank-00000.safetensors") == {0, 2}
    shutil.copytree(stopped, tmp_path / "other/esm2", symlinks=True)
    run_dir = train_on_ranks(replace(config, early_stop_on_step=None, resume_if_exists=True), 2)
    assert_same_training(deep_run, run_dir)
    assert_same_weights(deep_run / "checkpoints/last", consolidate(run_dir, tmp_path / "whole"))
    config, num_ranks = layout_config("tensor and data", fasta, tmp_path / "other", num_layers=4)
    other = train_on_ranks(replace(config, resume_if_exists=True), num_ranks)
    assert_same_training(deep_run, other)
    assert_same_weights(deep_run / "checkpoints/last", consolidate(other, tmp_path / "other/whole"))


# Going on: in the same layout bit for bit, in others within rounding, and on the other engine.


@pytest.fixture(scope="module")
def stopped_run(fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five steps of ten on two tensor-parallel ranks."""
    config, num_ranks = layout_config("tensor", fasta, tmp_path_factory.mktemp("stopped"), early_stop_on_step=5)
    return train_on_ranks(config, num_ranks)


@pytest.mark.parametrize("name", ["tensor", "one", "pipeline", "tensor and data", "context and pipeline"])
def test_a_run_goes_on_in_any_layout(
    name: str, fasta: Path, lightning_run: Path, stopped_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(stopped_run, tmp_path / "esm2", symlinks=True)
    config, num_ranks = layout_config(name, fasta, tmp_path, resume_if_exists=True)
    run_dir = train_on_ranks(config, num_ranks)
    assert_same_training(lightning_run, run_dir)
    assert_same_weights(lightning_run / "checkpoints/last", consolidate(run_dir, tmp_path / "whole"))


def test_a_resumed_run_equals_one_that_never_stopped_bit_for_bit(
    fasta: Path, stopped_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(stopped_run, tmp_path / "esm2", symlinks=True)
    config, num_ranks = layout_config("tensor", fasta, tmp_path, resume_if_exists=True)
    resumed = train_on_ranks(config, num_ranks)
    straight = train_on_ranks(replace(config, resume_if_exists=False, experiment_name="straight"), num_ranks)
    assert_same_training(resumed, straight, tolerance=0.0)
    ours, theirs = (ShardReader(run / "checkpoints/last/shards") for run in (resumed, straight))
    assert ours.names == theirs.names
    assert any(name.startswith("optimizer.state.exp_avg_sq.") for name in ours.names)
    assert all(torch.equal(ours.read(name), theirs.read(name)) for name in ours.names)


def test_consolidated_the_lightning_engine_goes_on(
    fasta: Path, lightning_run: Path, stopped_run: Path, tmp_path: Path
) -> None:
    consolidate(stopped_run, tmp_path / "esm2/checkpoints/step-00000005")
    shutil.copy(stopped_run / "metrics.csv", tmp_path / "esm2/metrics.csv")
    run_dir = train(tiny(fasta, tmp_path, accumulate_grad_batches=2, resume_if_exists=True))
    assert_same_training(lightning_run, run_dir)
    assert_same_weights(lightning_run / "checkpoints/last", run_dir / "checkpoints/last")


def test_transformers_opens_what_was_consolidated(stopped_run: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    whole = consolidate(stopped_run, tmp_path / "whole")
    model = transformers.EsmForMaskedLM.from_pretrained(whole)
    tokenizer = transformers.EsmTokenizer.from_pretrained(whole)
    assert model(**tokenizer("MKT<mask>A", return_tensors="pt")).logits.shape == (1, 7, 33)


def test_weights_in_hugging_face_layout_start_a_run(
    fasta: Path, lightning_run: Path, stopped_run: Path, tmp_path: Path
) -> None:
    """There and back: consolidated, then cut for two stages, untouched by a step of no size."""
    whole = consolidate(stopped_run, tmp_path / "whole")
    config, num_ranks = layout_config("pipeline", fasta, tmp_path)
    config = replace(config, num_steps=1, val_check_interval=1, lr=1e-12, restore_from_checkpoint_path=whole)
    run_dir = train_on_ranks(config, num_ranks)
    assert_same_weights(whole, consolidate(run_dir, tmp_path / "again"), tolerance=1e-9)
    reached = read_metrics(stopped_run / "metrics.csv")["val_loss"][4]
    assert read_metrics(run_dir / "metrics.csv")["val_loss"][0] == pytest.approx(reached, abs=1e-5)


# Ways to run: recomputed activations, half precision, saves beside the training, and what ends a run.


@pytest.mark.parametrize(("name", "recompute"), [("tensor", "full"), ("pipeline", "selective"), ("context", "full")])
def test_recomputed_activations_change_nothing(
    name: str, recompute: str, fasta: Path, lightning_run: Path, tmp_path: Path
) -> None:
    config, num_ranks = layout_config(name, fasta, tmp_path, recompute=recompute)
    assert_same_training(lightning_run, train_on_ranks(config, num_ranks))


@pytest.mark.parametrize(
    "name",
    ["tensor and data", "pipeline", pytest.param("tensor and data, plain optimizer", marks=pytest.mark.nightly)],
)
def test_half_precision_keeps_float32_masters(name: str, fasta: Path, lightning_run: Path, tmp_path: Path) -> None:
    config, num_ranks = layout_config(name, fasta, tmp_path, precision="bf16-mixed")
    run_dir = train_on_ranks(replace(config, early_stop_on_step=5), num_ranks)
    ours = read_metrics(run_dir / "metrics.csv")["train_loss"]
    np.testing.assert_allclose(ours, read_metrics(lightning_run / "metrics.csv")["train_loss"][:5], atol=0.02)
    reader = ShardReader(run_dir / "checkpoints/last/shards")
    name = "encoder.layers.0.mlp.linear_fc1.weight"
    master, weight = reader.read(f"optimizer.state.fp32_param.{name}"), reader.read(name)
    assert (master.dtype, weight.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(master.bfloat16(), weight)
    assert not torch.equal(master, weight.float())
    whole = consolidate(run_dir, tmp_path / "whole")
    written = read_tensors(whole / "model.safetensors")["esm.encoder.layer.0.intermediate.dense.weight"]
    assert torch.equal(written, master)
    train_on_ranks(replace(config, resume_if_exists=True), num_ranks)
    straight = train_on_ranks(replace(config, experiment_name="straight"), num_ranks)
    assert_same_training(run_dir, straight, tolerance=0.0)


def train_compiled_part(config: TrainESM2Config) -> tuple[int, int]:
    """Trace the layers as for a GPU, run them plainly, and count graphs and their breaks."""
    whole_layers = partial(compile_layers, backend="aot_eager", fullgraph=True)
    with (
        mock.patch.object(bionemo.llm.training.resolve, "check_gpu_flags"),
        mock.patch("bionemo.llm.megatron.engine.compile_layers", whole_layers),
        exact_attention_kernel(),
    ):
        train_part(config)
    counters = torch._dynamo.utils.counters
    return counters["stats"]["unique_graphs"], counters["graph_break"].total()


def test_compiled_layers_are_one_graph_and_train_the_same_model(
    fasta: Path, lightning_run: Path, tmp_path: Path
) -> None:
    config, num_ranks = layout_config(
        "one", fasta, tmp_path, compile=True, precision="bf16-mixed", early_stop_on_step=4
    )
    assert run_on_ranks(num_ranks, train_compiled_part, config, process_group=False, timeout_s=200) == [(1, 0)]
    ours = read_metrics(tmp_path / "esm2/metrics.csv")["train_loss"]
    np.testing.assert_allclose(ours, read_metrics(lightning_run / "metrics.csv")["train_loss"][:4], atol=0.02)


def test_saves_beside_the_training_are_the_same_are_gone_on_with_and_the_best_are_kept(
    fasta: Path, lightning_run: Path, tmp_path: Path
) -> None:
    config, num_ranks = layout_config("tensor and data", fasta, tmp_path, save_interval=1, ckpt_async_save=True)
    train_on_ranks(replace(config, early_stop_on_step=5), num_ranks)
    run_dir = train_on_ranks(replace(config, resume_if_exists=True), num_ranks)
    assert_same_training(lightning_run, run_dir)
    names = [path.name for path in RunDirectory(run_dir).checkpoints()]
    assert "step-00000010" in names
    assert len(names) <= 3
    assert (run_dir / "checkpoints/last").resolve().name == "step-00000010"
    assert (run_dir / "checkpoints/best").resolve().name in names
    assert [path for path in (run_dir / "checkpoints").iterdir() if is_leftover(path)] == []
    assert_same_weights(lightning_run / "checkpoints/last", consolidate(run_dir, tmp_path / "whole"))


def train_until_a_signal(config: TrainESM2Config) -> None:
    """The second rank alone is told to stop, as by a scheduler that takes its node."""
    metrics = config.result_dir / config.experiment_name / "metrics.csv"
    stopper = threading.Event()

    def stop_when_it_runs() -> None:
        while not metrics.exists() or len(metrics.read_text().splitlines()) < 3:
            stopper.wait(0.005)
        os.kill(os.getpid(), signal.SIGTERM)

    if os.environ["RANK"] == "1":
        threading.Thread(target=stop_when_it_runs, daemon=True).start()
    with pytest.raises(RunStopped) as stopped:
        train_part(config)
    assert stopped.value.code == 0  # torchrun would start the ranks again


def test_sigterm_on_one_rank_saves_and_ends_all(fasta: Path, tmp_path: Path) -> None:
    config, num_ranks = layout_config("pipeline", fasta, tmp_path, num_steps=400, save_interval=400)
    config = replace(config, val_check_interval=400, scheduler_num_steps=400)
    run_on_ranks(num_ranks, train_until_a_signal, config, process_group=False, timeout_s=200)
    (checkpoint,) = RunDirectory(tmp_path / "esm2").checkpoints()
    step = read_json(checkpoint / "training_state/state.json")["progress"]["step"]
    assert 2 <= step < 400
    run_dir = train_on_ranks(replace(config, resume_if_exists=True, early_stop_on_step=step + 2), num_ranks)
    assert read_metrics(run_dir / "metrics.csv")["step"].tolist() == list(range(1, step + 3))


def train_with_a_skewed_clock(config: TrainESM2Config) -> list[int]:
    """The second rank's clock is far ahead; gives the steps at which this rank has saved."""
    with skewed_clocks() as saved:
        train_part(config)
    return saved


def test_one_clock_decides_for_all_ranks(fasta: Path, tmp_path: Path) -> None:
    config, num_ranks = layout_config(
        "tensor", fasta, tmp_path, num_steps=6, save_interval=100, save_every_minutes=6.0
    )
    config = replace(config, val_check_interval=100)
    steps = run_on_ranks(num_ranks, train_with_a_skewed_clock, config, process_group=False, timeout_s=200)
    assert steps == [[4, 6], [4, 6]]


def test_a_gradient_that_is_not_finite_ends_the_run_before_it_is_saved(fasta: Path, tmp_path: Path) -> None:
    config, num_ranks = layout_config("tensor", fasta, tmp_path, lr=1e30, save_interval=1, log_every_n_steps=10)
    with pytest.raises(RanksFailedError, match=r"BionemoError: the gradient's norm is (nan|inf) in step") as caught:
        train_on_ranks(replace(config, warmup_steps=0), num_ranks)
    assert str(caught.value).count("the gradient's norm is") >= 2  # on every rank, at the same step
    checkpoint = RunDirectory(tmp_path / "esm2").checkpoints()[-1]
    reader = ShardReader(checkpoint / "shards")
    assert all(torch.isfinite(reader.read(name)).all() for name in reader.names)


# Bad input: said before training starts, by name, in one line.


SHAPE = ["--num-layers=2", "--hidden-size=32", "--num-attention-heads=4", "--ffn-hidden-size=64"]
STAGES_IN_PIECES = "--devices=2 --pipeline-model-parallel-size=2 --virtual-pipeline-model-parallel-size=2"


def launch(flags: str, fasta: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """Give the last line of a command that ends with the exit code of bad input, before it has trained."""
    place = [f"--train-fasta={fasta}", f"--result-dir={tmp_path}", "--accelerator=cpu"]
    assert main([*place, *SHAPE, *flags.split()]) == 2
    assert not (tmp_path / "run/metrics.csv").exists()
    return capfd.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--tensor-model-parallel-size=3 --devices=3", "3 does not divide the 4 attention heads"),
        ("--pipeline-model-parallel-size=4 --devices=4", "4 does not divide the 2 layers"),
        (STAGES_IN_PIECES, "2 x --virtual-pipeline-model-parallel-size 2 does not divide the 2 layers"),
        (f"{STAGES_IN_PIECES} --num-layers=4 --accumulate-grad-batches=3", "--accumulate-grad-batches 3: with"),
        ("--virtual-pipeline-model-parallel-size=2", "2: needs --pipeline-model-parallel-size of at least 2"),
        ("--tensor-model-parallel-size=2 --devices=1", "1 ranks cannot be split into copies of the model"),
        ("--tensor-model-parallel-size=2 --devices=3", "3 ranks cannot be split into copies of the model"),
        ("--context-parallel-size=2 --devices=2 --tokens-per-batch=4097", "2 does not divide the 4097 tokens"),
        ("--tensor-model-parallel-size=2 --engine=lightning", "and --engine lightning contradict each other"),
        (
            "--engine=megatron --precision=bf16",
            "--precision bf16: the megatron engine trains in fp32, or in bf16-mixed",
        ),
        ("--engine=megatron", "--engine megatron: needs GPUs. On CPUs ranks train with --engine lightning."),
    ],
)
def test_impossible_settings(
    flags: str, message: str, fasta: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = launch(flags, fasta, tmp_path, capfd)
    assert line.startswith("train_esm2: error: ")
    assert message in line


def test_more_ranks_than_gpus(
    fasta: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    line = launch("--accelerator=gpu --devices=4 --tensor-model-parallel-size=4", fasta, tmp_path, capfd)
    assert line.startswith("train_esm2: error: --devices 4: this machine shows 2 GPUs to torch.")


def train_with_other_settings(config: TrainESM2Config) -> None:
    if os.environ["RANK"] == "1":
        config = replace(config, lr=1e-3)
    train_part(config)


def test_ranks_with_other_settings_are_named(fasta: Path, tmp_path: Path) -> None:
    config, num_ranks = layout_config("tensor", fasta, tmp_path)
    with pytest.raises(RanksFailedError, match=r"rank 1 was started with lr = 0.001, rank 0 with 0.0004"):
        run_on_ranks(num_ranks, train_with_other_settings, config, process_group=False)


def train_without_rank_one(config: TrainESM2Config) -> str:
    if os.environ["RANK"] == "1":
        return "stayed away"
    with pytest.raises(ParallelismError) as caught:
        train_part(config)
    return str(caught.value)


def test_a_rank_that_does_not_start_is_named(fasta: Path, tmp_path: Path) -> None:
    config, num_ranks = layout_config("tensor", fasta, tmp_path, start_timeout_s=2)
    error, _ = run_on_ranks(num_ranks, train_without_rank_one, config, process_group=False)
    assert error.startswith("1 of 2 ranks did not start within 2 s: rank 1.")


def test_a_missing_shard_is_named_before_training(fasta: Path, stopped_run: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped_run, tmp_path / "esm2", symlinks=True)
    next((tmp_path / "esm2/checkpoints").glob("step-*/shards/rank-00001.safetensors")).unlink()
    config, num_ranks = layout_config("pipeline", fasta, tmp_path, resume_if_exists=True)
    with pytest.raises(RanksFailedError, match=r"rank-00001.safetensors: no such file"):
        train_on_ranks(config, num_ranks)


def test_runs_change_the_training_engine(fasta: Path, stopped_run: Path, lightning_run: Path, tmp_path: Path) -> None:
    """Two tensor-parallel ranks, then two sharded ones of the lightning engine, then two pipeline stages."""
    shutil.copytree(stopped_run, tmp_path / "esm2", symlinks=True)
    config = tiny(fasta, tmp_path, num_gpus=2, strategy="fsdp", resume_if_exists=True)
    train_on_ranks(replace(config, early_stop_on_step=7), 2)
    checkpoint = (tmp_path / "esm2/checkpoints/last").resolve()
    assert (checkpoint / "model.safetensors.index.json").exists()
    config, num_ranks = layout_config("pipeline", fasta, tmp_path, resume_if_exists=True)
    run_dir = train_on_ranks(config, num_ranks)
    assert_same_training(lightning_run, run_dir)
    assert_same_weights(lightning_run / "checkpoints/last", consolidate(run_dir, tmp_path / "whole"))


def test_layouts_have_the_same_gradients(fasta: Path, tmp_path: Path) -> None:
    """First moments after one step, of every parameter, to float32's rounding."""
    checkpoints = []
    for name in ("tensor", "context and pipeline", "data"):
        config, num_ranks = layout_config(name, fasta, tmp_path / name, num_steps=1, limit_val_batches=0)
        checkpoints.append(train_on_ranks(replace(config, val_check_interval=1), num_ranks) / "checkpoints/last")
    assert_optimizer_states_match(checkpoints, dtype="float32")


# The same as a user starts it: processes of their own, given their places by torchrun's variables.


SCALING = Path(__file__).parents[5] / "benchmarks/megatron_scaling.py"


def start_rank(rank: int, port: int, flags: list[str]) -> subprocess.Popen[str]:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0}
    place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": 1}
    environment = {**os.environ, **{name: str(value) for name, value in place.items()}}
    command = [sys.executable, SCALING, "--stand-in", *SHAPE, "--accelerator=cpu", "--devices=2", *flags]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def endings(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    errors = [process.communicate(timeout=120)[1] for process in processes]
    return [
        (process.returncode, error.strip().splitlines()[-1]) for process, error in zip(processes, errors, strict=True)
    ]


@pytest.mark.nightly
def test_processes_that_do_not_agree_or_do_not_come_end_in_one_line(fasta: Path, tmp_path: Path) -> None:
    flags = [f"--train-fasta={fasta}", f"--result-dir={tmp_path}", "--tensor-model-parallel-size=2"]
    port = free_port()
    for code, line in endings([start_rank(rank, port, [*flags, f"--lr=1e-{rank + 3}"]) for rank in (0, 1)]):
        assert code == 2
        assert line.startswith("train_esm2: error: rank 1 was started with lr = 0.0001, rank 0 with 0.001.")
    ((code, line),) = endings([start_rank(0, free_port(), [*flags, "--start-timeout-s=2", "--experiment-name=two"])])
    assert code == 2
    assert line.startswith("train_esm2: error: 1 of 2 ranks did not start within 2 s: rank 1.")
