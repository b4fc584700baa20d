# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What the lightning engine chooses for pretraining; that it trains is tested with the model families."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.training.config import PretrainConfig, SampleLimit
from bionemo.llm.training.lightning_engine import LightningEngine
from bionemo.llm.training.resolve import resolve


LARGE = BioBertConfig(num_layers=1000, hidden_size=10_240, num_attention_heads=80)
"""More than any computer's memory."""


@dataclass(frozen=True, kw_only=True)
class ToyConfig(PretrainConfig):
    """Pretrain a toy."""


@pytest.mark.parametrize(
    ("precision", "expected"), [("bf16-mixed", "fsdp"), ("32-true", "fsdp"), ("16-mixed", "ddp"), ("16-true", "ddp")]
)
def test_a_model_that_does_not_fit_is_sharded_but_not_in_float16(precision: str, expected: str) -> None:
    resolved = resolve(ToyConfig(accelerator="cpu", num_gpus=2), SampleLimit("--max-seq-length", 128))
    task = SimpleNamespace(objective=None, model_config=LARGE, vocabulary=SimpleNamespace(vocab_size=33))
    engine = LightningEngine(replace(resolved, precision=precision), task)
    assert engine._choose_strategy(LARGE).strategy == expected
