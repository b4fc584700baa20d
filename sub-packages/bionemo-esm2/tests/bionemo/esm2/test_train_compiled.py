# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A whole run on the path of `train_esm2 --compile`, on a CPU: the layers are traced as for a GPU and run plainly."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import bionemo.llm.training.lightning_engine
import bionemo.llm.training.resolve
from bionemo.esm2.train import train
from bionemo.esm2.train_config import TrainESM2Config
from bionemo.llm.model.compiled import compile_layers
from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.testing.data.fasta import write_fasta
from bionemo.testing.exact_attention import exact_attention_kernel
from bionemo.testing.proteins import make_proteins


NUM_STEPS = 8


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    """Short and longest sequences, so that packs need other numbers of slots."""
    proteins = make_proteins(640, num_families=4, min_length=126, max_length=200)
    cut = [replace(p, sequence=p.sequence[: 126 if idx % 10 == 0 else 4]) for idx, p in enumerate(proteins)]
    return write_fasta(tmp_path / "proteins.fasta", cut)


def run(fasta: Path, result_dir: Path, name: str, **changes: object) -> dict[str, np.ndarray]:
    config = TrainESM2Config(
        train_fasta=fasta, valid_fasta=fasta, limit_val_batches=2, result_dir=result_dir, experiment_name=name,
        num_steps=NUM_STEPS, val_check_interval=3, save_interval=2, log_every_n_steps=1, tokens_per_batch=512,
        max_seq_length=128, num_dataset_workers=0, accelerator="cpu",
        num_layers=2, hidden_size=32, num_attention_heads=4, ffn_hidden_size=64, **changes,
    )  # fmt: skip
    return read_metrics(train(config) / "metrics.csv")


def test_training_validation_and_checkpoints_follow_float32_without_a_graph_break(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = run(fasta, tmp_path, "exact", precision="fp32")
    monkeypatch.setattr(bionemo.llm.training.resolve, "check_gpu_flags", lambda config, accelerator: None)
    monkeypatch.setattr(
        bionemo.llm.training.lightning_engine,
        "compile_layers",
        partial(compile_layers, backend="aot_eager", fullgraph=True),
    )
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with exact_attention_kernel():
        fast = run(fasta, tmp_path, "fast", precision="bf16-mixed", compile=True)
    for name in ("train_loss", "val_loss", "val_loss_masked"):
        np.testing.assert_allclose(fast[name], exact[name], rtol=5e-3)
    counters = torch._dynamo.utils.counters
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] in (3, 4)  # training, with one and any number of slots, and validation
