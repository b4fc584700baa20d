# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Geneformer on the megatron engine against the lightning one, post-LN and pre-LN, on real ranks without a GPU."""

import json
import os
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bionemo.geneformer.api import load_geneformer
from bionemo.geneformer.tokenizer.variants import VARIANTS
from bionemo.geneformer.train import train
from bionemo.geneformer.train_config import TrainGeneformerConfig
from bionemo.llm.checkpoints.consolidate import consolidate
from bionemo.llm.checkpoints.hf_directory import read_tensors
from bionemo.llm.checkpoints.shards import ShardReader
from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.testing.megatron_on_cpu import megatron_on_cpu
from bionemo.testing.multiprocess import run_on_ranks, warm_pool


try:
    version("nemo-toolkit")
except PackageNotFoundError:
    pytest.skip("the megatron engine needs NeMo, which is in .venv-nemo", allow_module_level=True)

pytestmark = pytest.mark.nemo_env

PRELOAD = (
    "bionemo.geneformer.train",
    "bionemo.llm.megatron.engine",
    "nemo.lightning.pytorch.strategies",
    "bionemo.testing.megatron_on_cpu",
)


@pytest.fixture(scope="module", autouse=True)
def ranks_with_nemo() -> None:
    """Import NeMo once, before the ranks are forked."""
    warm_pool(*PRELOAD)


def tiny(files: Any, family: str, folder: Path, **changes: Any) -> TrainGeneformerConfig:
    tokens = [*VARIANTS[family].special_tokens, *files.cells.gene_ids]
    dictionary = folder / "tokens.json"
    dictionary.write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    settings = {
        "data_dir": files.data_dir,
        "token_dictionary": dictionary,
        "gene_medians": files.gene_medians,
        "result_dir": folder / "runs",
        "num_steps": 4,
        "lr": 3e-3,
        "val_check_interval": 4,
        "limit_val_batches": 1.0,
        "log_every_n_steps": 1,
        "tokens_per_batch": 256,
        "seq_length": 64,
        "accelerator": "cpu",
        "num_layers": 2,
        "hidden_size": 32,
        "num_attention_heads": 4,
        "ffn_hidden_size": 64,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
    }
    return TrainGeneformerConfig(**{**settings, **changes})


def train_part(config: TrainGeneformerConfig) -> None:
    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    with megatron_on_cpu():
        train(config)


LAYOUTS = {
    "tensor": {"tensor_model_parallel_size": 2},
    "sequence": {"tensor_model_parallel_size": 2, "sequence_parallel": True},
    "pipeline": {"pipeline_model_parallel_size": 2},
    "context": {"context_parallel_size": 2},
}


@pytest.fixture(scope="module", params=["V1", "BIONEMO"])
def family_alone(
    request: pytest.FixtureRequest, cell_files, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A family, and its run on one process by the lightning engine."""
    config = tiny(cell_files, request.param, tmp_path_factory.mktemp("alone"))
    return request.param, train(config)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_trains_the_same_model(
    family_alone: tuple[str, Path], layout: str, cell_files, tmp_path: Path
) -> None:
    family, alone = family_alone
    config = tiny(cell_files, family, tmp_path, experiment_name="spread", num_gpus=2, **LAYOUTS[layout])
    run_on_ranks(2, train_part, config, process_group=False, timeout_s=200)
    spread = tmp_path / "runs/spread"
    first, second = read_metrics(alone / "metrics.csv"), read_metrics(spread / "metrics.csv")
    for name in ("lr", "train_loss", "val_loss", "val_loss_masked"):
        np.testing.assert_allclose(first[name], second[name], rtol=0, atol=1e-5, err_msg=name)
    whole = consolidate(spread, tmp_path / "whole")
    ours, theirs = (
        read_tensors(alone / "checkpoints/last/model.safetensors"),
        read_tensors(whole / "model.safetensors"),
    )
    assert ours.keys() == theirs.keys()
    assert max((ours[name] - theirs[name]).abs().max().item() for name in ours) < 1e-5
    assert load_geneformer(whole).dictionaries.tokenizer.variant.name == family


@pytest.mark.parametrize("layout", ["data", "tensor"])
def test_ranks_drop_what_one_process_drops(layout: str, cell_files, tmp_path: Path) -> None:
    """Two packs a step, on two ranks or one after the other: each pack has the masks of its number in the run."""
    dropout = {"hidden_dropout": 0.1, "attention_dropout": 0.1 if layout == "data" else 0.0}
    alone = train(tiny(cell_files, "V1", tmp_path, experiment_name="alone", accumulate_grad_batches=2, **dropout))
    settings = {"engine": "megatron", "num_gpus": 2, "accumulate_grad_batches": 1}
    if layout == "tensor":
        settings |= {"tensor_model_parallel_size": 2, "accumulate_grad_batches": 2}
    config = tiny(cell_files, "V1", tmp_path, experiment_name="spread", **settings, **dropout)
    run_on_ranks(2, train_part, config, process_group=False, timeout_s=200)
    losses = [read_metrics(run / "metrics.csv")["train_loss"] for run in (alone, tmp_path / "runs/spread")]
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layout", ["data", "sequence", "tensor"])
def test_with_dropout_a_resumed_run_equals_one_that_never_stopped_bit_for_bit(
    layout: str, cell_files, tmp_path: Path
) -> None:
    settings = {"engine": "megatron", "num_gpus": 2, "hidden_dropout": 0.1, "attention_dropout": 0.1}
    config = tiny(cell_files, "V1", tmp_path, experiment_name="straight", **settings, **LAYOUTS.get(layout, {}))
    stopped = replace(config, experiment_name="resumed", early_stop_on_step=2)
    for run in (config, stopped, replace(stopped, early_stop_on_step=None, resume_if_exists=True)):
        run_on_ranks(2, train_part, run, process_group=False, timeout_s=200)
    straight, resumed = tmp_path / "runs/straight", tmp_path / "runs/resumed"
    for name in ("step", "train_loss"):
        first, second = (read_metrics(run / "metrics.csv")[name] for run in (straight, resumed))
        np.testing.assert_array_equal(first, second, err_msg=name)
    ours, theirs = (ShardReader(run / "checkpoints/step-00000004/shards") for run in (straight, resumed))
    assert ours.names == theirs.names
    assert all(torch.equal(ours.read(name), theirs.read(name)) for name in ours.names)
