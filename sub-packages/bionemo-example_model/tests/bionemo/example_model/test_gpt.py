# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import csv
import re

import numpy as np
import pytest
import torch
import transformers

from bionemo.core.errors import EXIT_BAD_INPUT
from bionemo.example_model.gpt import GPT, GPT2Layout, MicroBatches, TextWindows
from bionemo.example_model.gpt_config import GPTPretrainConfig
from bionemo.example_model.scripts.gpt_pretrain import main
from bionemo.llm.checkpoints.hf_directory import load_checkpoint, load_state
from bionemo.testing.import_check import import_check
from bionemo.testing.multiprocess import run_on_ranks, warm_pool


SMALL = ["--num-layers", "2", "--hidden-size", "32", "--num-attention-heads", "2", "--max-seq-length", "32"]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A text of few words: far more predictable than its letters' frequencies say."""
    words = "the protein folds and the enzyme cuts a long chain of acids into two".split()
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(" ".join(np.random.default_rng(0).choice(words, size=6000)))
    return path


def run(text, folder, *flags, steps=6):
    flags = ["--data-path", str(text), "--result-dir", str(folder), *SMALL, "--num-steps", str(steps), *flags]
    status = main([*flags, "--accelerator", "cpu"])
    assert status == 0
    return folder / "gpt"


def weights(run_path):
    return load_checkpoint(run_path / "checkpoints" / "last", GPT2Layout()).state


def test_it_learns_and_transformers_opens_the_checkpoint(text, tmp_path, capsys):
    path = run(text, tmp_path, "--val-check-interval", "125", "--lr", "0.01", steps=250)
    assert capsys.readouterr().out.strip() == str(path)
    with (path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    counts = np.bincount(np.frombuffer(text.read_bytes(), dtype=np.uint8))
    p = counts[counts > 0] / counts.sum()
    unigram_entropy = -(p * np.log(p)).sum()
    assert float(rows[-1]["val_loss"]) < unigram_entropy - 0.5
    assert (rows[-1]["step"], rows[-1]["consumed_tokens"]) == ("250", str(250 * 16 * 32))
    assert (path / "loss.png").stat().st_size > 1000
    theirs = transformers.GPT2LMHeadModel.from_pretrained(path / "checkpoints" / "last").eval()
    config = GPTPretrainConfig(data_path=text, num_layers=2, hidden_size=32, num_attention_heads=2, max_seq_length=32)
    ours = GPT(config)
    load_state(ours, weights(path), path)
    input_ids = torch.tensor([list(b"the protein folds")])
    with torch.inference_mode():
        torch.testing.assert_close(ours(input_ids), theirs(input_ids).logits, atol=1e-5, rtol=0)


def test_a_stopped_run_goes_on_bit_for_bit(text, tmp_path):
    flags = ["--val-check-interval", "2"]
    straight = run(text, tmp_path / "straight", *flags)
    run(text, tmp_path / "stopped", *flags, "--early-stop-on-step", "3")
    resumed = run(text, tmp_path / "stopped", *flags, "--resume-if-exists")
    for name, tensor in weights(straight).items():
        assert torch.equal(tensor, weights(resumed)[name]), name

    def losses(path):
        with (path / "metrics.csv").open() as file:
            return [(row["step"], row["train_loss"], row["val_loss"]) for row in csv.DictReader(file)]

    assert losses(straight) == losses(resumed)


def test_two_ranks_train_as_one_does(text, tmp_path):
    warm_pool("bionemo.example_model.gpt")
    alone = weights(run(text, tmp_path / "one", "--micro-batch-size", "8"))
    run_on_ranks(2, _run_quietly, text, tmp_path / "two", process_group=False)
    for name, tensor in weights(tmp_path / "two" / "gpt").items():
        torch.testing.assert_close(tensor, alone[name], atol=2e-5, rtol=0)


def _run_quietly(text, folder):
    run(text, folder, "--micro-batch-size", "4", "--devices", "2")


def test_windows_cover_the_text_once():
    data = np.arange(20, dtype=np.uint8)
    windows = TextWindows(data, max_seq_length=5)
    assert [windows[index].tolist() for index in range(len(windows))] == [
        [0, 1, 2, 3, 4, 5],
        [5, 6, 7, 8, 9, 10],
        [10, 11, 12, 13, 14, 15],
    ]
    assert len(TextWindows(data[:16], max_seq_length=5)) == 3


def test_micro_batches_of_ranks_share_one_order():
    firsts = [iter(MicroBatches(4, consumed_samples=6, rank=rank, world_size=2)) for rank in range(2)]
    assert [next(rank) for rank in firsts] == [range(24, 28), range(28, 32)]
    assert [next(rank) for rank in firsts] == [range(32, 36), range(36, 40)]


@pytest.mark.parametrize(
    ("flags", "text_of_error"),
    [
        (["--data-path", "nowhere.txt"], "--data-path nowhere.txt: no such file"),
        (["--data-path", "{short}"], "95 bytes for training and 5 for validation, each needs 257 or more"),
        (["--data-path", "{short}", "--hidden-size", "30"], "--hidden-size 30: not a multiple of 4 heads"),
        (["--data-path", "{short}", "--num-steps", "0"], "--num-steps 0: expected 1 or more"),
        (["--data-path", "{short}", "--valid-fraction", "1.5"], "--valid-fraction 1.5: expected more than 0"),
        ([], "--data-path: required"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, flags, text_of_error):
    short = tmp_path / "short.txt"
    short.write_text("x" * 100)
    argv = [flag.format(short=short) for flag in flags]
    assert main(argv) == EXIT_BAD_INPUT
    err = capsys.readouterr().err
    assert re.search(f"^gpt-pretrain.py: error: .*{re.escape(text_of_error)}", err, re.MULTILINE), err
    assert not (tmp_path / "results").exists()


def test_a_start_that_fails_late_leaves_no_run(text, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    flags = ["--data-path", str(text), "--result-dir", str(tmp_path / "results"), *SMALL, "--num-steps", "2"]
    assert main([*flags, "--accelerator", "gpu"]) == EXIT_BAD_INPUT
    assert not (tmp_path / "results").exists()


def test_another_setting_does_not_continue_the_run(text, tmp_path, capsys):
    run(text, tmp_path, steps=2)
    flags = ["--data-path", str(text), "--result-dir", str(tmp_path), *SMALL, "--resume-if-exists", "--num-steps", "2"]
    assert main([*flags, "--lr", "0.5"]) == EXIT_BAD_INPUT
    assert "was trained with lr = 0.001, this run has 0.5" in capsys.readouterr().err


def test_the_command_is_light():
    import_check(["bionemo.example_model.scripts.gpt_pretrain"], tier=0)
