# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Bad input to finetune_esm2 and predict_esm2: one line that names row and column, exit code 2, nothing written."""

from pathlib import Path

import pytest

from bionemo.core.errors import BionemoError
from bionemo.esm2.finetuning.config import FinetuneESM2Config, check_flags
from bionemo.esm2.finetuning.examples import read_examples, splits_of
from bionemo.esm2.scripts.finetune_esm2 import main
from bionemo.esm2.scripts.predict_esm2 import main as predict_main


RESIDUES = {"level": "residue", "task_type": "classification", "label_column": "y"}


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "data.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("id,sequence,y\na,MKT,1\nb,MKV,x\n", {}, "row 2 (b): column y: the value 'x' is no number"),
        ("id,sequence,y\na,MKT,HHH\nb,MKV,HC\n", RESIDUES, "row 2 (b): column y: 2 labels for 3 residues"),
        ("id,sequence,y\na,MKT,\nb,MKV,\n", {}, "column y holds no labels"),
        ("id,sequence,z\na,MKT,1\n", {}, "no column y, found id, sequence, z"),
        ("id,sequence,y\na,MKT,A\nb,MKV,A\n", {"task_type": "classification"}, "the class 'A' alone"),
        (
            "id,sequence,y\na,MKT,A\nb,MKV,B\nc,MKI,C\n",
            {"task_type": "classification", "mlp_target_size": 2},
            "column y has 3 classes (A, B, C), more than the head's 2 outputs",
        ),
        ("id,sequence,y\na,MKT,1\nb,MK5,2\n", {}, "data.csv"),
        ("id,sequence,y\na,MKT,1\nb,MKVMKV,2\n", {"max_seq_length": 5}, "row 2 (b): 6 residues, more than"),
        (
            "id,sequence,y,m\na,MKT,HHH,011\nb,MKV,HCH,01\n",
            {**RESIDUES, "labels_mask_column": "m"},
            "row 2 (b): column m: a mask of 2 for 3 residues",
        ),
        (
            "id,sequence,y\na,MKT,1\nb,MKV,2\n",
            {"split": "column", "split_column": "y"},
            "says 1, 2; expected rows of train and of valid or test",
        ),
        ("id,sequence,y\na,MKT,1\nb,MKT,2\n", {"split": "cluster", "folds": 2}, "2 folds of 1 clusters"),
    ],
)
def test_bad_tables_are_refused_in_one_line(
    tmp_path: Path, pretrained: Path, text: str, changes: dict, message: str
) -> None:
    values = {
        "restore_from_checkpoint_path": pretrained, "train_data_path": table(tmp_path, text), "label_column": "y",
        "result_dir": tmp_path / "runs",
    }  # fmt: skip
    config = FinetuneESM2Config(**{**values, **changes})
    with pytest.raises(BionemoError) as caught:
        list(splits_of(config, read_examples(config)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_classes_of_the_validation_file_must_be_known(tmp_path: Path, pretrained: Path) -> None:
    train = table(tmp_path, "id,sequence,y\na,MKT,A\nb,MKV,B\n")
    valid = tmp_path / "valid.csv"
    valid.write_text("id,sequence,y\nc,MKT,A\nd,MKV,C\n")
    values = {
        "restore_from_checkpoint_path": pretrained, "train_data_path": train, "valid_data_path": valid,
        "label_column": "y", "task_type": "classification",
    }  # fmt: skip
    with pytest.raises(BionemoError, match=r"row 2 \(d\): column y: the class 'C', which the training data lack"):
        read_examples(FinetuneESM2Config(**values))
    examples = read_examples(FinetuneESM2Config(**values, on_bad_row="skip"))
    assert examples.proteins.ids == ["a", "b", "c"]
    assert [(row.row, row.id) for row in examples.proteins.rejected] == [(2, "d")]


def test_commands_leave_nothing_where_they_fail(tmp_path: Path, pretrained: Path, capsys) -> None:
    data = table(tmp_path, "id,sequence,y\na,MKT,1\nb,MKV,x\n")
    arguments = ["--restore-from-checkpoint-path", str(pretrained), "--train-data-path", str(data)]
    arguments += ["--label-column", "y", "--result-dir", str(tmp_path / "runs"), "--accelerator", "cpu"]
    assert main(arguments) == 2
    assert "the value 'x' is no number" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    given = ["--data-path", str(data), "--results-path", str(tmp_path / "out"), "--accelerator", "cpu"]
    assert predict_main(["--checkpoint-path", str(pretrained), *given]) != 0
    assert "has no fine-tuned head" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--encoder-frozen", "--lora-finetune"], "contradict each other"),
        (["--lora-rank", "4"], "has a meaning with --lora-finetune only"),
        (["--head", "cnn"], "labels of a sequence take mlp or linear"),
        (["--split", "column"], "give both or none"),
        (["--dataset-class", "InMemoryProteinDataset"], "holds no labels"),
        (["--config-class", "ESM2FineTuneSeqConfig", "--level", "residue"], "--level residue contradict each other"),
        (["--task-type", "classification", "regression"], "2 kinds for 1 columns"),
        (["--folds", "1"], "must be at least 2"),
    ],
)
def test_flags_that_do_not_fit(flags: list[str], message: str) -> None:
    with pytest.raises(BionemoError, match=message):
        main.parse(["--restore-from-checkpoint-path", "x", "--train-data-path", "y", *flags])


def test_the_flags_of_bionemo_2_are_accepted() -> None:
    config = main.parse(
        "--restore-from-checkpoint-path c --train-data-path t --valid-data-path v --task-type classification "
        "--config-class ESM2FineTuneTokenConfig --dataset-class InMemoryPerTokenValueDataset --label-column labels "
        "--labels-mask-column m --lora-finetune --lora-checkpoint-path a --scale-lr-layer head --lr-multiplier 10 "
        "--cnn-dropout .1 --cnn-hidden-size 16 --cnn-num-classes 8 --mlp-ft-dropout .1 --mlp-hidden-size 128 "
        "--mlp-target-size 1 --num-steps 50 --early-stop-on-step 40 --min-seq-length 8 --max-seq-length 512 "
        "--micro-batch-size 4 --limit-val-batches 10 --limit-test-batches 10 --val-check-interval 20 "
        "--log-every-n-steps 1 --num-dataset-workers 2 --no-persistent-workers --no-pin-memory --overlap-grad-reduce "
        "--grad-reduce-in-fp32 --no-overlap-param-gather --no-average-in-collective --no-ckpt-async-save "
        "--metric-tracker val_acc --tensor-model-parallel-size 1 --pipeline-model-parallel-size 1 --num-gpus 1 "
        "--num-nodes 1 --accumulate-grad-batches 2 --precision bf16-mixed --save-last-checkpoint --save-top-k 2 "
        "--resume-if-exists --result-dir r --experiment-name e --create-tensorboard-logger --wandb-entity e "
        "--wandb-project p --wandb-group g --wandb-id i --wandb-tags a b --wandb-offline --wandb-anonymous".split()
    )
    check_flags(config)
    assert (config.labeled_level, config.head_kind) == ("residue", "cnn")
