# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A tiny ESM-2 and labeled proteins whose labels can be learned from their letters."""

import csv
from pathlib import Path

import numpy as np
import pytest

from bionemo.esm2.api import build_esm2, save_esm2
from bionemo.esm2.finetuning.config import FinetuneESM2Config
from bionemo.esm2.model.model import ESM2Config


LETTERS = "LAGVSERTIDPKQNFYMHWC"
HELIX = "LAERKQMH"


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: what is learned below is learned in fine-tuning."""
    config = ESM2Config(num_layers=2, hidden_size=32, num_attention_heads=4, ffn_hidden_size=48, init_method_std=0.1)
    folder = tmp_path_factory.mktemp("esm2") / "pretrained"
    save_esm2(build_esm2(config, seed=3), folder)
    return folder


@pytest.fixture(scope="session")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 proteins. ``value``: share of A; ``kind``: whether K or E is frequent; ``places``: both, or none;

    ``states``: H or C of each residue by its letter, ``mask``: all but the first residue; ``set``, ``fold``.
    """
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("labeled") / "proteins.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow("id sequence value kind places states mask set fold".split())
        for number in range(120):
            length = int(rng.integers(8, 40))
            shares = np.ones(20)
            shares[LETTERS.index("A")] = rng.uniform(0, 20)
            kind = number % 2
            shares[LETTERS.index("KE"[kind])] = 12
            sequence = "".join(rng.choice(list(LETTERS), length, p=shares / shares.sum()))
            value = "" if number == 5 else f"{10 + 3 * sequence.count('A') / length:.4f}"
            places = ";".join(name for name, letter in (("membrane", "L"), ("nucleus", "K")) if letter in sequence)
            states = "".join("H" if letter in HELIX else "C" for letter in sequence)
            row = [f"p{number}", sequence, value, "acid" if kind else "base", places or ";", states]
            writer.writerow(
                [*row, "0" + "1" * (length - 1), ("train", "train", "valid", "test")[number % 4], number % 3]
            )
    return path


@pytest.fixture
def settings(pretrained: Path, labeled: Path, tmp_path: Path):
    """Build settings of a short run."""

    def build(**changes) -> FinetuneESM2Config:
        values = {
            "restore_from_checkpoint_path": pretrained,
            "train_data_path": labeled,
            "label_column": "value",
            "task_type": "regression",
            "num_epochs": 8,
            "lr": 3e-3,
            "micro_batch_size": 8,
            "accelerator": "cpu",
            "result_dir": tmp_path,
        }
        return FinetuneESM2Config(**{**values, **changes})

    return build
