# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import csv
import re

import pytest

from bionemo.core.errors import EXIT_BAD_INPUT
from bionemo.example_model.scripts.example_model import STEPS, main


PNG = b"\x89PNG\r\n\x1a\n"


def run(capsys, *argv):
    status = main(argv)
    captured = capsys.readouterr()
    return status, captured.out.strip(), captured.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("example")


def test_the_three_steps_reach_95_percent(folder, capsys, monkeypatch):
    """The README's commands, with their defaults."""
    monkeypatch.chdir(folder)
    data = ["--data-dir", str(folder / "none")]
    assert run(capsys, "train", *data)[:2] == (0, "results/example_model/pretrain/checkpoint")
    assert run(capsys, "finetune", *data)[:2] == (0, "results/example_model/finetune/checkpoint")
    status, path, log = run(capsys, "predict", *data)
    assert (status, path) == (0, "results/example_model/predict/predictions.csv")
    with (folder / path).open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["idx"]) for row in rows] == list(range(10_000))
    accuracy = sum(row["label"] == row["prediction"] for row in rows) / len(rows)
    assert accuracy >= 0.95
    assert f"accuracy {accuracy:.4f} on 10000 test digits" in log
    for step in ("pretrain", "finetune", "predict"):
        assert (folder / f"results/example_model/{step}/digits.png").read_bytes()[:8] == PNG


def test_an_odd_number_of_digits_and_the_decoder_kept(folder, capsys, monkeypatch, recwarn):
    monkeypatch.chdir(folder)
    small = ["--data-dir", str(folder / "none"), "--num-steps", "2", "--batch-size", "16"]
    assert run(capsys, "train", *small, "--result-dir", "p")[0] == 0
    checkpoint = ["--checkpoint-path", "p/checkpoint"]
    status, path, _ = run(
        capsys, "finetune", *small, *checkpoint, "--result-dir", "f", "--keep-decoder", "--freeze-parent"
    )
    assert (status, path) == (0, "f/checkpoint")
    assert "freeze_parent: true" in (folder / "f/config.yaml").read_text()
    more = ["--checkpoint-path", "f/checkpoint", "--batch-size", "16"]
    # Once more from there: the head is taken over, and need not be new.
    assert run(capsys, "finetune", *small, *more[:2], "--result-dir", "f2")[0] == 0
    assert run(capsys, "predict", *small[:2], *more, "--num-digits", "37", "--result-dir", "o")[0] == 0
    assert len((folder / "o/predictions.csv").read_text().splitlines()) == 38
    assert [str(warning.message) for warning in recwarn if "lightning" in warning.filename] == []


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "no step: expected one of train, finetune, predict"),
        (["test"], "test: expected one of"),
        (["train", "--num-steps", "0"], "--num-steps 0: expected 1 or more"),
        (["finetune", "--checkpoint-path", "nowhere"], "nowhere/config.json: no such file"),
        (["predict", "--checkpoint-path", "p/checkpoint"], "holds ExampleModel, which has no classifier"),
        (["predict", "--checkpoint-path", "f/checkpoint", "--num-digits", "10001"], "--num-digits 10001: expected 1"),
    ],
)
def test_bad_input_is_one_line(folder, capsys, monkeypatch, argv, text):
    monkeypatch.chdir(folder)
    status, out, err = run(capsys, *argv)
    assert (status, out) == (EXIT_BAD_INPUT, "")
    assert re.search(f"^example_model: error: .*{re.escape(text)}", err, re.MULTILINE), err
    assert "Traceback" not in err


def test_flags(capsys):
    data = {"data_dir", "batch_size"}
    train = data | set(
        "result_dir num_steps lr val_check_interval limit_val_batches num_gpus accelerator precision seed".split()
    )
    assert set(STEPS["train"].__dataclass_fields__) == train
    assert set(STEPS["finetune"].__dataclass_fields__) == train | {"checkpoint_path", "keep_decoder", "freeze_parent"}
    assert set(STEPS["predict"].__dataclass_fields__) == data | {"result_dir", "checkpoint_path", "num_digits"}
    assert main(["--help"]) == 0
    assert "train,finetune,predict" in capsys.readouterr().out
