# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command's face: flags, help and start-up."""

import resource
import subprocess
import sys

import pytest

from bionemo.core.config import parse
from bionemo.core.config_fields import config_fields
from bionemo.esm2.train_config import TrainESM2Config


FLAGS = """
--accelerator --accumulate-grad-batches --attention --average-in-collective --biobert-spec-option --ckpt-async-save
--compile --context-parallel-size --create-tensorboard-logger --cuda-graphs --decoder-first-pipeline-num-layers
--disable-checkpointing --early-stop-on-step --engine --experiment-name --ffn-hidden-size --grad-reduce-in-fp32
--hidden-size --init-from-hf --limit-val-batches --log-every-n-steps --lr --mask-prob --mask-token-prob
--max-seq-length --metric-to-monitor-for-checkpoints --micro-batch-size --min-seq-length --model --num-attention-heads
--num-dataset-workers --num-gpus --num-layers --num-nodes --num-steps --overlap-grad-reduce --overlap-param-gather
--pack --pipeline-model-parallel-size --precision --random-mask-strategy --random-token-prob --recompute
--restore-from-checkpoint-path --result-dir --resume-if-exists --save-best-checkpoint --save-interval
--save-last-checkpoint --save-top-k --scheduler-num-steps --seed --sequence-parallel --start-timeout-s
--tensor-model-parallel-size --tokens-per-batch --train-cluster-path --train-database-path --train-fasta
--use-distributed-optimizer --val-check-interval --valid-cluster-path --valid-database-path --valid-fasta
--valid-fraction --virtual-pipeline-model-parallel-size --wandb-anonymous --wandb-entity --wandb-group --wandb-id
--wandb-job-type --wandb-log-model --wandb-offline --wandb-project --wandb-tags --warmup-steps --weight-decay
"""


def test_flags_are_the_documented_ones() -> None:
    assert sorted(field.spelling for field in config_fields(TrainESM2Config)) == FLAGS.split()


def test_established_spellings() -> None:
    config = parse(TrainESM2Config, ["--max-steps=5", "--devices=2", "--no-pack", "--limit-val-batches=None"])
    assert (config.num_steps, config.num_gpus, config.pack, config.limit_val_batches) == (5, 2, False, None)
    assert parse(TrainESM2Config, ["--limit-val-batches=0.5"]).limit_val_batches == 0.5
    assert parse(TrainESM2Config, ["--no-save-best-checkpoint"]).save_best_checkpoint is False
    assert parse(TrainESM2Config, ["--min-seq-length=None"]).min_seq_length is None


HELP = """
import sys
from bionemo.esm2.scripts.train_esm2 import main
try:
    main(["--help"])
finally:
    assert "torch" not in sys.modules
"""


def test_help_is_quick_and_light() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "--train-fasta" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0  # CPU-seconds: cores are shared


def test_unknown_flag_suggests_a_known_one() -> None:
    with pytest.raises(ValueError, match="--max-steps"):
        parse(TrainESM2Config, ["--max-step=5"])
