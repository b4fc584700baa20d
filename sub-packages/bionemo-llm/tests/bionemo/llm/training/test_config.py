# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What every pretraining command refuses, and how it fills in its settings."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from bionemo.core.config import option, parse
from bionemo.core.errors import ConfigError, ParallelismError
from bionemo.core.exclusive_settings import Exclusive
from bionemo.llm.training.config import PretrainConfig, SampleLimit, check_contradictions
from bionemo.llm.training.resolve import ResolvedRun, check_strategy, resolve


@dataclass(frozen=True, kw_only=True)
class ToyConfig(PretrainConfig):
    """Pretrain a toy."""

    at_least_one: ClassVar[tuple[str, ...]] = (*PretrainConfig.at_least_one, "width")

    exclusive: ClassVar[Exclusive] = (*PretrainConfig.exclusive, ("width", ("lr",)))

    width: int = option(4, help="Channels.")


def parse_and_resolve(flags: list[str]) -> ResolvedRun:
    config = parse(ToyConfig, ["--accelerator=cpu", *flags])
    check_contradictions(config)
    return resolve(config, SampleLimit("--width", config.width))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--width=0"], "--width 0: must be at least 1"),
        (["--accumulate-grad-batches=0"], "--accumulate-grad-batches 0: must be at least 1"),
        (["--seed=-1"], "--seed -1: must not be negative"),
        (["--lr=0"], "--lr 0.0: must be above 0"),
        (["--experiment-name=a/b"], "--experiment-name 'a/b': must be one folder name"),
        (["--tokens-per-batch=9", "--micro-batch-size=2"], "--tokens-per-batch and --micro-batch-size contradict"),
        (["--width=2", "--lr=1"], "--width and --lr contradict"),
        (["--disable-checkpointing", "--save-interval=3"], "--disable-checkpointing and --save-interval contradict"),
        (["--no-pack", "--tokens-per-batch=9"], "with --no-pack give --micro-batch-size"),
        (["--tokens-per-batch=3"], "--tokens-per-batch 3 is below --width 4"),
        (["--strategy=ddp", "--fsdp-shard-size=2"], "--fsdp-shard-size and --strategy ddp contradict each other"),
        (["--strategy=ddp", "--fsdp-cpu-offload"], "--fsdp-cpu-offload and --strategy ddp contradict each other"),
        (["--fsdp-shard-size=0"], "--fsdp-shard-size 0: must be at least 1"),
        (["--strategy=fsdp", "--engine=megatron"], "--engine megatron and --strategy fsdp contradict each other"),
        (["--strategy=ddp", "--tensor-model-parallel-size=2"], "-parallel-size and --strategy ddp contradict"),
    ],
)
def test_refused(flags: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_and_resolve(flags)


@pytest.mark.parametrize(
    ("text", "flags", "expected"),
    [
        ("tokens_per_batch: 4096", ["--micro-batch-size=3"], (None, 3, True)),
        ("micro_batch_size: 3", ["--tokens-per-batch=64"], (64, None, True)),
        ("tokens_per_batch: 4096", ["--no-pack"], (None, None, False)),
        ("micro_batch_size: 3\npack: false", ["--tokens-per-batch=64", "--pack"], (64, None, True)),
    ],
)
def test_a_flag_wins_over_what_it_excludes_in_a_file(text, flags, expected, tmp_path, caplog) -> None:
    (tmp_path / "c.yaml").write_text(text)
    config = parse_and_resolve([f"--config={tmp_path / 'c.yaml'}", *flags]).asked
    assert (config.tokens_per_batch, config.micro_batch_size, config.pack) == expected
    assert f"{text.split(':')[0]} is not used, because {flags[0].split('=')[0]} was given" in caplog.text


def test_contradictions_within_a_file_are_refused(tmp_path) -> None:
    (tmp_path / "c.yaml").write_text("tokens_per_batch: 4096\nmicro_batch_size: 3\n")
    with pytest.raises(ConfigError, match="--tokens-per-batch and --micro-batch-size contradict each other"):
        parse_and_resolve([f"--config={tmp_path / 'c.yaml'}"])


@pytest.mark.parametrize(
    ("flags", "sequences_per_batch", "max_tokens"),
    [
        ([], None, 4096),
        (["--width=5000"], None, 5000),
        (["--micro-batch-size=3"], None, 12),
        (["--no-pack"], 64, 256),
        (["--no-pack", "--micro-batch-size=3"], 3, 12),
    ],
)
def test_size_of_a_batch(flags, sequences_per_batch, max_tokens) -> None:
    resolved = parse_and_resolve(flags)
    assert (resolved.sequences_per_batch, resolved.max_tokens) == (sequences_per_batch, max_tokens)


def test_a_strategy_and_the_megatron_engine_are_refused_from_python() -> None:
    config = ToyConfig(accelerator="cpu", strategy="ddp", tensor_model_parallel_size=2)
    with pytest.raises(ConfigError, match="and --tensor-model-parallel-size asks for"):
        resolve(config, SampleLimit("--width", config.width))


def test_float16_is_refused_where_ranks_are_sharded() -> None:
    config = ToyConfig(accelerator="cpu", strategy="fsdp", precision="fp16-mixed")
    with pytest.raises(ConfigError, match="--precision fp16-mixed: not with --strategy fsdp"):
        check_strategy(config, "lightning", "16-mixed")


def test_groups_that_share_a_model_divide_the_ranks() -> None:
    with pytest.raises(ParallelismError, match="--fsdp-shard-size 2: does not divide the 3 ranks"):
        parse_and_resolve(["--num-gpus=3", "--fsdp-shard-size=2"])


def test_intervals_follow_the_number_of_steps() -> None:
    resolved = parse_and_resolve(["--num-steps=500"])
    assert (resolved.val_check_interval, resolved.save_interval, resolved.log_every_n_steps) == (500, 500, 5)
