# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Whole runs of a tiny ESM-2: what a run leaves, exact resume after SIGKILL, ranks, learning and bad input."""

import json
import os
import resource
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from bionemo.core.errors import BionemoError, ConfigError
from bionemo.esm2 import load_esm2
from bionemo.esm2.scripts.train_esm2 import main
from bionemo.esm2.train import train
from bionemo.esm2.train_config import TrainESM2Config
from bionemo.llm.checkpoints.hf_directory import read_json, read_tensors
from bionemo.llm.checkpoints.model_source import model_fingerprint
from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.stop_requests import RunStopped
from bionemo.testing.data.fasta import write_fasta
from bionemo.testing.kills import Kill, kill_runner
from bionemo.testing.multiprocess import run_on_ranks
from bionemo.testing.proteins import make_proteins


NUM_STEPS = 12
PRELOAD = ("bionemo.esm2.train",)
TINY = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "ffn_hidden_size": 64}
TINY_FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fasta(tmp_path_factory.mktemp("data") / "proteins.fasta", make_proteins(160, num_families=4))


def tiny(fasta: Path, result_dir: Path, **changes) -> TrainESM2Config:
    settings = {
        "train_fasta": fasta,
        "result_dir": result_dir,
        "num_steps": NUM_STEPS,
        "val_check_interval": 4,
        "save_interval": 2,
        "log_every_n_steps": 1,
        "tokens_per_batch": 512,
        "max_seq_length": 128,
        "num_dataset_workers": 0,
        "accelerator": "cpu",
        **TINY,
    }
    return TrainESM2Config(**{**settings, **changes})


def train_in_child(config: TrainESM2Config) -> None:
    torch.set_num_threads(1)
    train(config)


def weights(run_dir: Path, checkpoint: str = "last") -> dict[str, torch.Tensor]:
    return read_tensors(run_dir / "checkpoints" / checkpoint / "model.safetensors")


def optimizer_state(run_dir: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run_dir / "checkpoints/last/training_state/optimizer.safetensors")


def assert_same_run(one: Path, other: Path) -> None:
    """Equal to the last bit: every metric but the speed, the weights and the optimizer."""
    first, second = read_metrics(one / "metrics.csv"), read_metrics(other / "metrics.csv")
    for name in first.keys() - {"tokens_per_s"}:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    for ours, theirs in ((weights(one), weights(other)), (optimizer_state(one), optimizer_state(other))):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def assert_same_run_up_to_rounding(one: Path, other: Path) -> None:
    """The same packs, and losses and weights that differ by the order of summation at most."""
    first, second = read_metrics(one / "metrics.csv"), read_metrics(other / "metrics.csv")
    for name in ("consumed_samples", "consumed_sequences", "consumed_tokens"):
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    for name in ("train_loss", "val_loss", "val_loss_masked"):
        np.testing.assert_allclose(first[name], second[name], atol=1e-5, err_msg=name)
    ours, theirs = weights(one), weights(other)
    assert max((ours[name] - theirs[name]).abs().max().item() for name in ours) < 1e-5


@pytest.fixture(scope="module")
def reference_run(fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(fasta, tmp_path_factory.mktemp("reference")))


def test_a_run_leaves_what_the_guide_promises(reference_run: Path) -> None:
    assert {p.name for p in reference_run.iterdir()} == {
        "checkpoints", "config.yaml", "data", "log.txt", "loss.png", "metrics.csv", "resolved.yaml"
    }  # fmt: skip
    metrics = read_metrics(reference_run / "metrics.csv")
    assert metrics["step"].tolist() == list(range(1, NUM_STEPS + 1))
    validated = ~np.isnan(metrics["val_loss"])
    assert metrics["step"][validated].tolist() == [4, 8, 12]
    np.testing.assert_allclose(metrics["val_ppl"][validated], np.exp(metrics["val_loss"][validated]))
    assert not np.isnan(metrics["val_loss_masked"][validated]).any()
    assert metrics["consumed_samples"].tolist() == metrics["step"].tolist()
    assert (np.diff(metrics["consumed_tokens"]) <= 512).all()
    assert (np.diff(metrics["consumed_tokens"]) > 512 * 0.8).all()
    checkpoints = RunDirectory(reference_run).checkpoints()
    assert (reference_run / "checkpoints/last").resolve() == checkpoints[-1].resolve()
    assert (reference_run / "checkpoints/best").resolve() in [p.resolve() for p in checkpoints]
    assert len(checkpoints) <= 3
    assert (reference_run / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_each_checkpoint_has_a_card_that_the_hub_reads_and_a_reader_may_change(
    reference_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for checkpoint in RunDirectory(reference_run).checkpoints():
        metrics = read_json(checkpoint / "training_state/state.json")["metrics"]
        card = ModelCard.load(checkpoint / "README.md")
        assert card.data.to_dict() == {
            "license": "unknown", "library_name": "transformers", "pipeline_tag": "fill-mask",
            "tags": ["bionemo", "biology", "protein", "esm"],
        }  # fmt: skip
        step = int(checkpoint.name.removeprefix("step-"))
        for row in (
            "| class in transformers | EsmForMaskedLM |", "| layers | 2 |", "| hidden size | 32 |",
            "| --train-fasta | proteins.fasta |", "| training sequences | 152 |", "| precision | 32-true |",
            f"| optimizer steps | {step} |", f"| val_loss (nats per selected token) | {metrics['val_loss']:.6g} |",
            f"EsmForMaskedLM.from_pretrained('{checkpoint.name}')",
        ):  # fmt: skip
            assert row in card.text
        assert str(reference_run) not in card.text
        assert str(tmp_path.parent) not in card.text
    changed = shutil.copytree(checkpoint, tmp_path / "model")
    (changed / "README.md").write_text("---\nlicense: mit\n---\nMine.")
    weights_sum = model_fingerprint(checkpoint)
    assert load_esm2(changed).config.num_layers == 2
    assert model_fingerprint(changed) == weights_sum
    assert "changed since" not in caplog.text


def test_transformers_opens_the_checkpoint(reference_run: Path) -> None:
    transformers = pytest.importorskip("transformers")
    directory = reference_run / "checkpoints/last"
    model = transformers.EsmForMaskedLM.from_pretrained(directory)
    tokenizer = transformers.EsmTokenizer.from_pretrained(directory)
    encoded = tokenizer("MKT<mask>A", return_tensors="pt")
    assert encoded["input_ids"].tolist() == [[0, 20, 15, 11, 32, 5, 2]]
    assert model(**encoded).logits.shape == (1, 7, 33)


def test_killed_and_resumed_equals_never_killed(fasta: Path, reference_run: Path, tmp_path: Path) -> None:
    config = tiny(fasta, tmp_path, resume_if_exists=True)
    run_dir = tmp_path / "esm2"

    def check(kill: Kill) -> None:
        if kill.landed:
            train(config)
        assert_same_run(run_dir, reference_run)

    def prepare() -> None:
        shutil.rmtree(run_dir, ignore_errors=True)

    kill_runner(train_in_child, config, check=check, prepare=prepare, preload=PRELOAD)


def test_finished_run_resumed_changes_nothing(fasta: Path, reference_run: Path, tmp_path: Path) -> None:
    shutil.copytree(reference_run, tmp_path / "esm2", symlinks=True)
    train(tiny(fasta, tmp_path, resume_if_exists=True))
    assert_same_run(tmp_path / "esm2", reference_run)


def test_sigterm_saves_and_ends_the_run(fasta: Path, reference_run: Path, tmp_path: Path) -> None:
    config = tiny(fasta, tmp_path, save_interval=1000, val_check_interval=1000)
    run_dir = tmp_path / "esm2"

    def stop_when_it_runs() -> None:
        while not (run_dir / "metrics.csv").exists() or len((run_dir / "metrics.csv").read_text().splitlines()) < 3:
            stopper.wait(0.005)
        os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Event()
    thread = threading.Thread(target=stop_when_it_runs, daemon=True)
    thread.start()
    with pytest.raises(RunStopped) as stopped:
        train(config)
    assert stopped.value.code == 128 + signal.SIGTERM
    thread.join()
    (checkpoint,) = RunDirectory(run_dir).checkpoints()
    step = json.loads((checkpoint / "training_state/state.json").read_text())["progress"]["step"]
    assert 2 <= step < NUM_STEPS
    train(replace(config, resume_if_exists=True))
    ours = weights(run_dir)
    assert all(torch.equal(ours[name], tensor) for name, tensor in weights(reference_run).items())


def test_an_error_while_a_stopped_run_cleans_up_does_not_hide_the_stop(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped_before_the_first_step(*args: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            raise RuntimeError("workers are gone")

    monkeypatch.setattr("lightning.pytorch.Trainer.fit", stopped_before_the_first_step)
    with pytest.raises(RunStopped) as stopped:
        train(tiny(fasta, tmp_path))
    assert stopped.value.code == 128 + signal.SIGTERM
    assert not (tmp_path / "esm2/config.yaml").exists()


def train_on_ranks(config: TrainESM2Config) -> None:
    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    try:
        train(config)
    finally:
        torch.distributed.destroy_process_group()


def test_two_ranks_equal_one_rank_that_accumulates(fasta: Path, tmp_path: Path) -> None:
    """Same packs per step, so the same run up to the order of summation."""
    common = {"num_steps": 4, "limit_val_batches": 1.0}
    one = train(tiny(fasta, tmp_path, experiment_name="one", accumulate_grad_batches=2, **common))
    config = tiny(fasta, tmp_path, experiment_name="two", num_gpus=2, **common)
    run_on_ranks(2, train_on_ranks, config, process_group=False)
    assert_same_run_up_to_rounding(one, tmp_path / "two")


def test_resume_on_another_number_of_ranks_consumes_what_is_left(
    fasta: Path, reference_run: Path, tmp_path: Path
) -> None:
    """Four steps alone, then four with two ranks: the twelve packs of the reference, none twice."""
    train(tiny(fasta, tmp_path, early_stop_on_step=4))
    config = tiny(fasta, tmp_path, early_stop_on_step=8, num_gpus=2, resume_if_exists=True)
    run_on_ranks(2, train_on_ranks, config, process_group=False)
    states = [read_json(d / "checkpoints/last/training_state/state.json") for d in (tmp_path / "esm2", reference_run)]
    ours, theirs = (dict(state["progress"]) for state in states)
    assert ours.pop("step") == 8
    assert theirs.pop("step") == 12
    assert ours == theirs


def train_as_slurm_task(config: TrainESM2Config) -> None:
    """With the environment of srun in place of torchrun's: two nodes with one task each."""
    rank = os.environ.pop("RANK")
    for name in ("WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "TORCHELASTIC_RUN_ID"):
        os.environ.pop(name, None)
    task = {"JOB_ID": "4711", "JOB_NAME": "esm2", "PROCID": rank, "NODEID": rank, "LOCALID": "0"}
    sizes = {"NTASKS": "2", "STEP_NUM_TASKS": "2", "NNODES": "2", "NTASKS_PER_NODE": "1", "NODELIST": "localhost"}
    os.environ.update({f"SLURM_{name}": value for name, value in (task | sizes).items()})
    try:
        train(config)
    finally:
        torch.distributed.destroy_process_group()


def test_tasks_of_slurm_are_the_ranks(fasta: Path, tmp_path: Path) -> None:
    launches = {"torchrun": (train_on_ranks, {"num_gpus": 2}), "slurm": (train_as_slurm_task, {"num_nodes": 2})}
    for name, (train_one_rank, sizes) in launches.items():
        config = tiny(fasta, tmp_path, experiment_name=name, num_steps=4, **sizes)
        run_on_ranks(2, train_one_rank, config, process_group=False)
    assert_same_run_up_to_rounding(tmp_path / "torchrun", tmp_path / "slurm")


def test_another_number_of_ranks_than_described_is_refused(fasta: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BionemoError, match=r"^2 ranks were started, but --devices 1 x --num-nodes 1 makes 1\. Give"):
        train(tiny(fasta, tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changes", [{"pack": False, "tokens_per_batch": None, "micro_batch_size": 3}, {"num_dataset_workers": 1}]
)
def test_other_ways_to_batch(changes: dict, fasta: Path, tmp_path: Path) -> None:
    run_dir = train(tiny(fasta, tmp_path, num_steps=2, val_check_interval=2, **changes))
    metrics = read_metrics(run_dir / "metrics.csv")
    assert metrics["train_loss"].shape == (2,)
    if "pack" in changes:
        assert metrics["consumed_sequences"].tolist() == [3, 6]


def test_established_sqlite_and_parquet_inputs(tmp_path: Path) -> None:
    from bionemo.testing.data.esm2 import create_mock_parquet_train_val_inputs, create_mock_protein_dataset

    database = create_mock_protein_dataset(tmp_path)
    train_clusters, valid_clusters = create_mock_parquet_train_val_inputs(tmp_path)
    config = tiny(
        None, tmp_path, num_steps=2, val_check_interval=2,
        train_cluster_path=train_clusters, train_database_path=database,
        valid_cluster_path=valid_clusters, valid_database_path=database,
    )  # fmt: skip
    metrics = read_metrics(train(config) / "metrics.csv")
    assert metrics["consumed_sequences"].tolist()[-1] >= 4


def test_weights_of_a_checkpoint_start_a_new_run(reference_run: Path, fasta: Path, tmp_path: Path) -> None:
    start = reference_run / "checkpoints/last"
    run_dir = train(
        tiny(fasta, tmp_path, num_steps=1, val_check_interval=1, lr=1e-9, restore_from_checkpoint_path=start)
    )
    ours, theirs = weights(run_dir), weights(reference_run)
    assert max((ours[name] - theirs[name]).abs().max().item() for name in ours) < 1e-7
    reached = read_metrics(reference_run / "metrics.csv")["val_loss"][-1]
    assert read_metrics(run_dir / "metrics.csv")["val_loss"][-1] == pytest.approx(reached, abs=1e-6)


# Bad input: one line that names what is wrong, the right exit code, nothing half-written.


def run_main(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main([str(argument) for argument in arguments])
    captured = capfd.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("train_esm2: error")]
    assert "Traceback" not in captured.err
    return status, "\n".join(errors)


def test_a_call_from_python_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no training data: give --train-fasta FILE"):
        train(TrainESM2Config(model="8M", result_dir=tmp_path))
    assert not list(tmp_path.iterdir())


CONTRADICTIONS = [
    (["--model=8M", "--num-layers=2"], "--model and --num-layers contradict"),
    (["--valid-fasta=x", "--valid-fraction=0.2"], "--valid-fasta and --valid-fraction contradict"),
    (["--train-database-path=x"], "--train-fasta and --train-database-path contradict"),
    (["--tokens-per-batch=2048", "--micro-batch-size=4"], "--tokens-per-batch and --micro-batch-size contradict"),
    (["--no-pack", "--tokens-per-batch=2048"], "--tokens-per-batch is the size of a pack"),
    (["--tokens-per-batch=100"], "--tokens-per-batch 100 is below --max-seq-length 1024"),
    (["--lr=0"], "--lr 0"),
    (["--num-steps=0"], "--num-steps 0: must be at least 1"),
    (["--valid-fraction=1.5"], "--valid-fraction 1.5"),
    (["--mask-prob=1.5"], "mask_prob"),
    (["--mask-prob=0"], "--mask-prob 0.0: must be above 0"),
    (["--warmup-steps=20", "--num-steps=10"], "--warmup-steps 20 exceeds"),
    (["--accelerator=cpu", "--compile"], "--compile: works on a GPU only"),
    (["--accelerator=cpu", "--cuda-graphs"], "--cuda-graphs: works on a GPU only"),
    (["--accelerator=cpu", "--attention=cudnn"], "--attention cudnn: a GPU kernel"),
    (["--accelerator=cpu", "--precision=16"], "--precision 16"),
    (["--hidden-size=33"], "hidden_size 33 is not divisible"),
    (["--model=9M"], "--model"),
    (["--no-such-flag"], "--no-such-flag"),
    (["--restore-from-checkpoint-path=/nowhere"], "/nowhere: no such directory"),
]


@pytest.mark.parametrize(
    ("flags", "message"), CONTRADICTIONS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_contradictory_flags(flags: list[str], message: str, fasta: Path, tmp_path: Path, capfd) -> None:
    sizes = [] if any(f.startswith(("--model", "--hidden", "--restore")) for f in flags) else TINY_FLAGS
    status, error = run_main(capfd, f"--train-fasta={fasta}", f"--result-dir={tmp_path}", *sizes, *flags)
    assert status == 2
    assert message in error
    assert error.count("\n") == 0


def test_no_data_is_said(capfd) -> None:
    assert run_main(capfd) == (2, "train_esm2: error: no training data: give --train-fasta FILE, or the four cluster and database paths.")  # fmt: skip  # noqa: E501
    status, error = run_main(capfd, "--train-cluster-path=x")
    assert status == 2
    assert "--train-database-path" in error


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "proteins"), (b"", "empty"), (b"MKTA\n", "FASTA"), (b">a\n>b\nMKT\n", "a"), (b">a\nMK1T\n", "'1'")],
    ids=["missing", "empty", "not fasta", "no residues", "illegal character"],
)
def test_bad_sequence_files_name_file_and_record(content: bytes | None, message: str, tmp_path: Path, capfd) -> None:
    path = tmp_path / "proteins.fasta"
    if content is not None:
        path.write_bytes(content)
    status, error = run_main(capfd, f"--train-fasta={path}", f"--result-dir={tmp_path / 'results'}", *TINY_FLAGS)
    assert status == 2
    assert str(path) in error
    assert message in error
    left = [p for p in (tmp_path / "results").rglob("*") if p.is_file() and p.name != "log.txt"]
    assert left == []


def test_existing_run_is_not_overwritten(fasta: Path, reference_run: Path, capfd) -> None:
    status, error = run_main(capfd, f"--train-fasta={fasta}", f"--result-dir={reference_run.parent}", *TINY_FLAGS)
    assert status == 2
    assert "--resume-if-exists" in error


def test_result_dir_that_is_a_file(fasta: Path, tmp_path: Path, capfd) -> None:
    (tmp_path / "file").touch()
    status, error = run_main(capfd, f"--train-fasta={fasta}", f"--result-dir={tmp_path / 'file'}", *TINY_FLAGS)
    assert status == 2
    assert "--result-dir" in error


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "training_state/optimizer.safetensors", "training_state/state.json", "config.json"]
)
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_damaged_checkpoints_are_refused_by_name(
    name: str, damage: str, fasta: Path, reference_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(reference_run, tmp_path / "esm2", symlinks=True)
    path = (tmp_path / "esm2/checkpoints/last").resolve() / name
    if damage == "flipped":
        flip_a_bit(path)
    elif damage == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.unlink()
    with pytest.raises(BionemoError, match=Path(name).name) as caught:
        train(tiny(fasta, tmp_path, resume_if_exists=True))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("changes", "message"), [({"mask_prob": 0.2}, "mask_prob"), ({"seed": 1}, "seed"), ({"num_layers": 3}, "shape")]
)
def test_resume_with_other_settings_is_refused(
    changes: dict, message: str, fasta: Path, reference_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(reference_run, tmp_path / "esm2", symlinks=True)
    with pytest.raises(BionemoError, match=message):
        train(tiny(fasta, tmp_path, resume_if_exists=True, **changes))


def train_on_small_disk(config: TrainESM2Config) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    with pytest.raises(BionemoError, match="step-00000002"):
        train(config)


def test_full_disk_leaves_no_half_checkpoint(fasta: Path, tmp_path: Path) -> None:
    """A limit on the size of a file answers a write as a full disk does."""
    kill_runner(train_on_small_disk, tiny(fasta, tmp_path), check=lambda kill: None, kills=0, preload=PRELOAD)
    assert list((tmp_path / "esm2/checkpoints").iterdir()) == []
