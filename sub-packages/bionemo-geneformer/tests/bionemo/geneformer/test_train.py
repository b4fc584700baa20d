# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Whole runs of a tiny Geneformer: what a run leaves, exact resume after SIGKILL with dropout, inputs, bad input."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from bionemo.core.errors import BionemoError
from bionemo.geneformer.api import load_geneformer
from bionemo.geneformer.data.tokenized_cells import open_tokenized
from bionemo.geneformer.scripts.train_geneformer import main
from bionemo.geneformer.train import train
from bionemo.geneformer.train_config import TrainGeneformerConfig
from bionemo.llm.checkpoints.hf_directory import read_json, read_tensors
from bionemo.llm.checkpoints.weight_files import open_weights
from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.testing.kills import Kill, kill_runner
from bionemo.testing.multiprocess import run_on_ranks


NUM_STEPS = 8
PRELOAD = ("bionemo.geneformer.train",)
TINY = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "ffn_hidden_size": 64}
TINY_FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]


def tiny(files, result_dir: Path, **changes) -> TrainGeneformerConfig:
    settings = {
        "train_tokens": files.train_tokens,
        "valid_tokens": files.valid_tokens,
        "token_dictionary": files.token_dictionary,
        "result_dir": result_dir,
        "num_steps": NUM_STEPS,
        "lr": 3e-3,
        "val_check_interval": 4,
        "save_interval": 2,
        "log_every_n_steps": 1,
        "tokens_per_batch": 256,
        "seq_length": 64,
        "accelerator": "cpu",
        **TINY,
    }
    return TrainGeneformerConfig(**{**settings, **changes})


def train_in_child(config: TrainGeneformerConfig) -> None:
    torch.set_num_threads(1)
    train(config)


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run_dir / "checkpoints/last/model.safetensors")


def agreement_of(run_dir: Path) -> dict:
    return read_json(run_dir / "checkpoints/last/training_state/state.json")["agreement"]


def assert_same_run(one: Path, other: Path) -> None:
    """Equal to the last bit: every metric but the speed, the weights and the optimizer."""
    first, second = read_metrics(one / "metrics.csv"), read_metrics(other / "metrics.csv")
    for name in first.keys() - {"tokens_per_s"}:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    state = "checkpoints/last/training_state/optimizer.safetensors"
    for ours, theirs in ((weights(one), weights(other)), (read_tensors(one / state), read_tensors(other / state))):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Runs are compared bit for bit, also with children's: sums depend on how many threads share them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def reference_run(cell_files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(cell_files, tmp_path_factory.mktemp("reference")))


def test_a_run_leaves_what_the_guide_promises(cell_files, reference_run: Path) -> None:
    assert {p.name for p in reference_run.iterdir()} == {
        "checkpoints", "config.yaml", "log.txt", "loss.png", "metrics.csv", "resolved.yaml"
    }  # fmt: skip
    metrics = read_metrics(reference_run / "metrics.csv")
    assert metrics["step"].tolist() == list(range(1, NUM_STEPS + 1))
    validated = ~np.isnan(metrics["val_loss"])
    assert metrics["step"][validated].tolist() == [4, 8]
    assert not np.isnan(metrics["val_loss_masked"][validated]).any()
    # One step of warm-up, six of a cosine from the peak to its hundredth, one at the floor.
    assert metrics["lr"][:2].tolist() == [3e-3, pytest.approx(3e-5 + 2.97e-3 * (1 + np.cos(np.pi / 6)) / 2)]
    assert metrics["lr"][-1] == pytest.approx(3e-5)
    module = load_geneformer(reference_run / "checkpoints/last")
    assert (module.config.variant, module.config.vocab_size) == ("V1", 62)
    assert module.dictionaries.tokenizer.vocab == json.loads(cell_files.token_dictionary.read_text())
    agreement = agreement_of(reference_run)
    train_tokens = open_tokenized(cell_files.train_tokens).read(np.arange(96))[0]
    valid_tokens = open_tokenized(cell_files.valid_tokens).read(np.arange(24))[0]
    counts = np.bincount(train_tokens, minlength=62)[2:] + 1.0
    expected = -np.log(counts / counts.sum())[valid_tokens - 2].mean()
    assert agreement["num_sequences"] == 96
    assert agreement["unigram_loss"] == pytest.approx(expected, rel=1e-9)


def test_transformers_opens_the_checkpoint(reference_run: Path) -> None:
    transformers = pytest.importorskip("transformers")
    directory = reference_run / "checkpoints/last"
    ids = torch.tensor([[5, 9, 1, 30]])
    with torch.no_grad():
        theirs = transformers.BertForMaskedLM.from_pretrained(directory)(ids).logits
        torch.testing.assert_close(load_geneformer(directory)(ids).token_logits, theirs, atol=1e-5, rtol=0)


def test_archives_and_tokens_of_the_same_cells_are_the_same_run(
    cell_files, reference_run: Path, tmp_path: Path
) -> None:
    config = tiny(
        cell_files, tmp_path, train_tokens=None, valid_tokens=None, data_dir=cell_files.data_dir,
        gene_medians=cell_files.gene_medians, num_dataset_workers=1,
    )  # fmt: skip
    assert_same_run(train(config), reference_run)


def test_killed_and_resumed_equals_never_killed(cell_files, reference_run: Path, tmp_path: Path) -> None:
    config = tiny(cell_files, tmp_path, resume_if_exists=True)
    run_dir = tmp_path / "geneformer"

    def check(kill: Kill) -> None:
        if kill.landed:
            train(config)
        assert_same_run(run_dir, reference_run)

    def prepare() -> None:
        shutil.rmtree(run_dir, ignore_errors=True)

    kill_runner(train_in_child, config, check=check, prepare=prepare, preload=PRELOAD)


def train_on_ranks(config: TrainGeneformerConfig) -> None:
    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    try:
        train(config)
    finally:
        torch.distributed.destroy_process_group()


LENGTHS = {"training_model_config_class": "FineTuneSeqLenBioBertConfig"}


@pytest.mark.parametrize(
    ("strategy", "objective"),
    [("ddp", {}), ("fsdp", LENGTHS), pytest.param("fsdp", {"recompute": "full"}, marks=pytest.mark.nightly)],
)
def test_two_ranks_equal_one_rank_that_accumulates(
    strategy: str, objective: dict[str, str], cell_files, tmp_path: Path
) -> None:
    """Same packs and the same dropout per step, so the same run up to the order of summation."""
    common = {"num_steps": 3, "limit_val_batches": 1.0, **objective}
    one = train(tiny(cell_files, tmp_path, experiment_name="one", accumulate_grad_batches=2, **common))
    config = tiny(cell_files, tmp_path, experiment_name="two", num_gpus=2, strategy=strategy, **common)
    run_on_ranks(2, train_on_ranks, config, process_group=False)
    first, second = read_metrics(one / "metrics.csv"), read_metrics(tmp_path / "two/metrics.csv")
    for name in ("train_loss", "val_loss", "val_loss_masked"):
        np.testing.assert_allclose(first[name], second[name], atol=1e-5, err_msg=name)
    ours, theirs = (open_weights(run_dir / "checkpoints/last") for run_dir in (one, tmp_path / "two"))
    assert set(ours) == set(theirs)
    assert max((ours[name] - theirs[name]).abs().max().item() for name in ours) < 1e-5


def test_weights_of_a_checkpoint_start_a_new_run_with_their_vocabulary(
    cell_files, reference_run: Path, tmp_path: Path
) -> None:
    sizes = dict.fromkeys(TINY, 7)  # the checkpoint's own are taken
    run_dir = train(
        tiny(
            cell_files, tmp_path, num_steps=1, val_check_interval=1, lr=1e-9, token_dictionary=None,
            restore_from_checkpoint_path=reference_run / "checkpoints/last", **sizes,
        )
    )  # fmt: skip
    ours, theirs = weights(run_dir), weights(reference_run)
    assert max((ours[name] - theirs[name]).abs().max().item() for name in ours) < 1e-7


def test_held_out_share_of_the_training_tokens(cell_files, tmp_path: Path) -> None:
    run_dir = train(tiny(cell_files, tmp_path, num_steps=1, val_check_interval=1, valid_tokens=None))
    assert agreement_of(run_dir)["num_sequences"] == 91


@pytest.mark.parametrize(("family", "position"), [("V2", "post"), ("BIONEMO", "pre")])
def test_other_families_train(family: str, position: str, cell_files, tmp_path: Path) -> None:
    from bionemo.geneformer.tokenizer.variants import VARIANTS

    genes = [*VARIANTS[family].special_tokens, *cell_files.cells.gene_ids]
    (tmp_path / "tokens.json").write_text(json.dumps({gene: number for number, gene in enumerate(genes)}))
    config = tiny(
        cell_files, tmp_path, train_tokens=None, valid_tokens=None, data_dir=cell_files.data_dir, num_steps=2,
        val_check_interval=2, token_dictionary=tmp_path / "tokens.json", gene_medians=cell_files.gene_medians,
    )  # fmt: skip
    module = load_geneformer(train(config) / "checkpoints/last")
    assert (module.config.variant, module.config.norm_placement) == (family, position)
    assert module.dictionaries.medians.keys() == set(cell_files.cells.gene_ids)


# Bad input: one line that names what is wrong, exit code 2, nothing half-written.


def run_main(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    status = main([str(argument) for argument in arguments])
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err
    return status, "\n".join(line for line in captured.err.splitlines() if line.startswith("train_geneformer: error"))


BAD_FLAGS = [
    (["--model=V1-10M", "--num-layers=2"], "--model and --num-layers contradict"),
    (["--data-dir=x"], "--data-dir and --train-tokens contradict"),
    (["--valid-tokens=x", "--valid-fraction=.1"], "--valid-tokens and --valid-fraction contradict"),
    (["--gene-column=x"], "--train-tokens and --gene-column contradict"),
    (["--tokens-per-batch=100"], "--tokens-per-batch 100 is below --seq-length 2048"),
    (["--model=V2-104M"], "--model V2-104M: the token dictionary is of family V1"),
    (["--model=V1-10M", "--seq-length=4096"], "--seq-length 4096: the model has 2048 positions"),
    (["--hidden-dropout=2"], "--hidden-dropout 2.0: must lie between 0 and 1"),
    (["--cosine-rampup-frac=.9", "--cosine-hold-frac=.2"], "exceed 1 together"),
    (["--model=V9"], "--model"),
    (["--hidden-size=33"], "hidden_size 33 is not divisible"),
    (["--restore-from-checkpoint-path=/nowhere"], "/nowhere: no such"),
]


@pytest.mark.parametrize(
    ("flags", "message"), BAD_FLAGS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_contradictory_flags(flags: list[str], message: str, cell_files, tmp_path: Path, capfd) -> None:
    status, error = run_main(
        capfd, f"--train-tokens={cell_files.train_tokens}", f"--token-dictionary={cell_files.token_dictionary}",
        f"--result-dir={tmp_path}", *flags,
    )  # fmt: skip
    assert status == 2
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_no_data_or_no_vocabulary_is_said(cell_files, capfd) -> None:
    assert run_main(capfd) == (
        2,
        "train_geneformer: error: no training data: give --data-dir with train/ and val/, or --train-tokens.",
    )
    status, error = run_main(capfd, f"--train-tokens={cell_files.train_tokens}")
    assert status == 2
    assert "--token-dictionary: required" in error


def flags_for(files, folder: Path, *more: object) -> list[object]:
    return [f"--token-dictionary={files.token_dictionary}", f"--result-dir={folder / 'runs'}", *TINY_FLAGS, *more]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([[5, 9], []], "cell 1 has no genes (1 such cells). Leave them out with --empty-cells skip"),
        ([[5, 62], [7]], "A cell has the token 62, but the vocabulary has 62"),
        ([], "empty"),
    ],
    ids=["empty cell", "foreign token", "no cells"],
)
def test_unusable_tokens_are_refused(cells: list, message: str, cell_files, tmp_path: Path, capfd) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "cells.parquet"
    pq.write_table(pa.table({"input_ids": pa.array(cells, pa.list_(pa.int64()))}), path)
    status, error = run_main(
        capfd,
        *flags_for(cell_files, tmp_path, f"--train-tokens={path}", f"--valid-tokens={cell_files.valid_tokens}"),
    )
    assert status == 2
    assert message in error
    assert not (tmp_path / "runs").exists()


def test_missing_or_unranked_archives_are_refused(cell_files, tmp_path: Path, capfd) -> None:
    data = f"--data-dir={cell_files.data_dir}"
    status, error = run_main(capfd, *flags_for(cell_files, tmp_path, data))
    assert status == 2
    assert "counts are ranked by --gene-medians" in error
    medians = f"--gene-medians={cell_files.gene_medians}"
    status, error = run_main(capfd, *flags_for(cell_files, tmp_path, f"--data-dir={tmp_path}", medians))
    assert status == 2
    assert f"{tmp_path / 'train'}: there is no such file" in error


def test_an_unknown_gene_is_refused_where_that_is_asked_for(cell_files, tmp_path: Path, capfd) -> None:
    dictionary = json.loads(cell_files.token_dictionary.read_text())
    last = max(dictionary, key=dictionary.__getitem__)
    del dictionary[last]
    (tmp_path / "tokens.json").write_text(json.dumps(dictionary))
    arguments = [
        f"--token-dictionary={tmp_path / 'tokens.json'}", f"--data-dir={cell_files.data_dir}", *TINY_FLAGS,
        f"--gene-medians={cell_files.gene_medians}", f"--result-dir={tmp_path / 'runs'}", "--refuse-unknown-genes",
    ]  # fmt: skip
    status, error = run_main(capfd, *arguments)
    assert status == 2
    assert f"Provided gene identifier, {last}, is not in the tokenizer vocab" in error


def test_a_dictionary_of_another_version_than_the_checkpoint_is_refused(
    cell_files, reference_run: Path, tmp_path: Path
) -> None:
    dictionary = json.loads(cell_files.token_dictionary.read_text())
    first, second = list(dictionary)[2:4]
    dictionary[first], dictionary[second] = dictionary[second], dictionary[first]
    (tmp_path / "tokens.json").write_text(json.dumps(dictionary))
    config = tiny(
        cell_files, tmp_path, token_dictionary=tmp_path / "tokens.json",
        restore_from_checkpoint_path=reference_run / "checkpoints/last",
    )  # fmt: skip
    with pytest.raises(BionemoError, match="the vocabulary's fingerprint is"):
        train(config)


@pytest.mark.parametrize(
    ("changes", "message"), [({"mask_prob": 0.2}, "mask_prob"), ({"seed": 7}, "seed"), ({"num_layers": 3}, "shape")]
)
def test_resume_with_other_settings_is_refused(
    changes: dict, message: str, cell_files, reference_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(reference_run, tmp_path / "geneformer", symlinks=True)
    with pytest.raises(BionemoError, match=message):
        train(tiny(cell_files, tmp_path, resume_if_exists=True, **changes))


def test_existing_run_is_not_overwritten(cell_files, reference_run: Path, capfd) -> None:
    arguments = [
        f"--token-dictionary={cell_files.token_dictionary}", f"--train-tokens={cell_files.train_tokens}",
        f"--result-dir={reference_run.parent}", *TINY_FLAGS,
    ]  # fmt: skip
    status, error = run_main(capfd, *arguments)
    assert status == 2
    assert "--resume-if-exists" in error
