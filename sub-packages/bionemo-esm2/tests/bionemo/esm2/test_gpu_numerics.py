# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""On a GPU: the fast path of `train_esm2` follows float32, loss by loss, over 200 steps on real sequences.

A run that fails says so in few lines, the error itself last: what a compiler raises and logs fills screens.
"""

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bionemo.esm2.train import train
from bionemo.esm2.train_config import TrainESM2Config
from bionemo.llm.training.metrics_csv import read_metrics


REAL_DATA = Path(__file__).resolve().parents[6] / "shared/data/uniref90_9k.fasta.gz"
NUM_STEPS = 200
MAX_REPORT = 4000
"""Characters of a failed run's report."""

pytestmark = [
    pytest.mark.needs_gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="1 GPU, found 0"),
    pytest.mark.skipif(not REAL_DATA.exists(), reason="the real sequences are not beside the repository"),
]


def losses(result_dir: Path, name: str, **changes: object) -> np.ndarray:
    settings = {
        "train_fasta": REAL_DATA, "result_dir": result_dir, "experiment_name": name, "model": "8M",
        "num_steps": NUM_STEPS, "val_check_interval": NUM_STEPS, "log_every_n_steps": 1, "tokens_per_batch": 8192,
        "lr": 1e-3, "accelerator": "gpu",
    }  # fmt: skip
    try:
        run_dir = train(TrainESM2Config(**{**settings, **changes}))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be read
        pytest.fail(short_report(error), pytrace=False)
    return read_metrics(run_dir / "metrics.csv")["train_loss"]


def short_report(error: BaseException) -> str:
    """The innermost frames and the message of an error and of what caused it, first cause first."""
    chain = [error]
    while (cause := chain[0].__cause__ or chain[0].__context__) is not None:
        chain.insert(0, cause)
    lines = []
    for link in chain:
        lines += [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(link.__traceback__)[-6:]]
        lines.append(f"{type(link).__name__}: {str(link)[: MAX_REPORT // len(chain)]}")
    return "\n".join(lines)[-MAX_REPORT:]


@pytest.fixture(autouse=True, scope="module")
def quiet_compiler() -> Iterator[None]:
    """Keeps the compiler's debug log out of the report of a failed test."""
    logger = logging.getLogger("torch")
    before, logger.propagate = logger.propagate, False
    yield
    logger.propagate = before


@pytest.fixture(scope="module")
def float32_losses(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return losses(tmp_path_factory.mktemp("exact"), "exact", precision="fp32")


@pytest.mark.parametrize(
    "changes", [{"compile": True}, {"cuda_graphs": True}, {"compile": True, "attention": "torch"}], ids=str
)
def test_the_loss_curve_stays_within_half_a_percent(
    float32_losses: np.ndarray, changes: dict[str, object], tmp_path: Path
) -> None:
    fast = losses(tmp_path, "fast", **changes)
    assert len(fast) == len(float32_losses) == NUM_STEPS
    off = np.abs(fast / float32_losses - 1)
    assert off.max() <= 5e-3, f"step {off.argmax() + 1}: {off.max():.2%} off; {np.sum(off > 5e-3)} steps above 0.5 %"
