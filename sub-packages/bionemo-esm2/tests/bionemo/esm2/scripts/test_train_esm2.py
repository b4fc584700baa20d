# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command's face: flags, help and start-up."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from bionemo.core.config import parse
from bionemo.core.config_fields import config_fields
from bionemo.core.errors import ConfigError
from bionemo.esm2.train_config import CLUSTER_FIELDS, TrainESM2Config, check_flags


FLAGS = """
--accelerator --accumulate-grad-batches --attention --average-in-collective --biobert-spec-option --ckpt-async-save
--compile --context-parallel-size --create-tensorboard-logger --cuda-graphs --decoder-first-pipeline-num-layers
--disable-checkpointing --duplicate-ids --early-stop-on-step --engine --experiment-name --ffn-hidden-size
--fsdp-cpu-offload --fsdp-shard-size --grad-reduce-in-fp32 --hidden-size --illegal --init-from-hf
--limit-val-batches --log-every-n-steps --lr --mask-prob --mask-token-prob --max-seq-length
--metric-to-monitor-for-checkpoints --micro-batch-size --min-seq-length --model --num-attention-heads
--num-dataset-workers --num-gpus --num-layers --num-nodes --num-steps --on-bad-record --overlap-grad-reduce
--overlap-param-gather --pack --pipeline-model-parallel-size --precision --random-mask-strategy --random-token-prob
--recompute --restore-from-checkpoint-path --result-dir --resume-from --resume-if-exists --save-best-checkpoint
--save-every-minutes --save-interval --save-last-checkpoint --save-top-k --scheduler-num-steps --seed
--sequence-parallel --start-timeout-s --strategy --tensor-model-parallel-size --tokens-per-batch
--train-cluster-path --train-database-path --train-fasta --use-distributed-optimizer --val-check-interval
--valid-cluster-path --valid-database-path --valid-fasta --valid-fraction --virtual-pipeline-model-parallel-size
--wandb-anonymous --wandb-entity --wandb-group --wandb-id --wandb-job-type --wandb-log-model --wandb-offline
--wandb-project --wandb-tags --warmup-steps --weight-decay
"""


def test_flags_are_the_documented_ones() -> None:
    assert sorted(field.spelling for field in config_fields(TrainESM2Config)) == FLAGS.split()


def test_established_spellings() -> None:
    config = parse(TrainESM2Config, ["--max-steps=5", "--devices=2", "--no-pack", "--limit-val-batches=None"])
    assert (config.num_steps, config.num_gpus, config.pack, config.limit_val_batches) == (5, 2, False, None)
    assert parse(TrainESM2Config, ["--limit-val-batches=0.5"]).limit_val_batches == 0.5
    assert parse(TrainESM2Config, ["--no-save-best-checkpoint"]).save_best_checkpoint is False
    assert parse(TrainESM2Config, ["--min-seq-length=None"]).min_seq_length is None


def test_unknown_flag_suggests_a_known_one() -> None:
    with pytest.raises(ValueError, match="--max-steps"):
        parse(TrainESM2Config, ["--max-step=5"])


def test_policies_files_and_pipes_reach_the_store(tmp_path: Path) -> None:
    from bionemo.esm2.train import open_records

    (tmp_path / "a.fasta").write_text("".join(f">a{i}\nMKTAY\n" for i in range(40)))
    (tmp_path / "b.fasta").write_text(">b\nMJ\n>a1\nMK\n>c\nM1\n")
    run = SimpleNamespace(data_dir=tmp_path / "data")
    files = [f"--train-fasta={tmp_path / 'a.fasta'}", f"--valid-fasta={tmp_path}", "--on-bad-record=skip"]
    train, valid = open_records(parse(TrainESM2Config, [*files, "--illegal=unk"]), run)
    assert (len(train.source), len(valid.source)) == (40, 41)  # b counts, a1 is there twice, c is broken
    assert (tmp_path / "data" / "valid" / "rejected.tsv").read_text().count("\n") == 3
    assert TrainESM2Config(train_fasta=tmp_path / "a.fasta").train_fasta == (tmp_path / "a.fasta",)
    with pytest.raises(ConfigError, match="standard input is a pipe, which only one of 2 processes can read"):
        open_records(parse(TrainESM2Config, ["--train-fasta", "-", "--devices=2"]), run)
    with pytest.raises(ConfigError, match="standard input is a pipe and can be read only once"):
        open_records(parse(TrainESM2Config, ["--train-fasta", "-", "--valid-fasta", "-"]), run)


def test_bad_record_flags_belong_to_fasta() -> None:
    paths = [f"--{name.replace('_', '-')}=x" for name in CLUSTER_FIELDS]
    with pytest.raises(ConfigError, match="--train-cluster-path and --on-bad-record contradict each other"):
        check_flags(parse(TrainESM2Config, [*paths, "--on-bad-record=skip"]))
    check_flags(parse(TrainESM2Config, [*paths, "--illegal=unk"]))
