# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""On a GPU: every fast way to train Geneformer computes what float32 computes, on real cells.

Loss and gradients are compared at equal weights along a float32 run, and the validation loss at the end of runs of
`train_geneformer`. A run that fails says so in few lines, the error itself last: what a compiler raises fills screens.
"""

import gzip
import itertools
import json
import logging
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from bionemo.geneformer.api import build_geneformer, geneformer_config
from bionemo.geneformer.train import train
from bionemo.geneformer.train_config import TrainGeneformerConfig
from bionemo.llm.data.masking import PackMasking
from bionemo.llm.data.packing import build_packed_batch
from bionemo.llm.lightning import packed_forward_step, packed_loss
from bionemo.llm.model.compiled import compile_layers
from bionemo.llm.model.varlen.dropout_check import check_dropout
from bionemo.llm.model.varlen.kernels import KERNELS, is_installed
from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.llm.training.static_forward import StaticForwardStep, StaticShapes
from bionemo.testing.equal_weights import Difference, Variant, differences_along_a_run


DATA = Path(__file__).resolve().parents[6] / "shared/data"
REAL_DATA, DICTIONARY = DATA / "genecorpus_tokens_300.parquet", DATA / "geneformer_v1_token_dictionary.json.gz"
STEPS = (1, 20, 100, 200)
NUM_TOKENS, MAX_TOKENS = 8192, 2048
MAX_LOSS_ERROR, MIN_COSINE = 2e-3, 0.999
MAX_REPORT = 4000
"""Characters of a failed run's report."""

pytestmark = [
    pytest.mark.needs_gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="1 GPU, found 0"),
    pytest.mark.skipif(not REAL_DATA.exists(), reason="the real cells are not beside the repository"),
]


@pytest.fixture(autouse=True, scope="module")
def quiet_compiler() -> Iterator[None]:
    """Keeps the compiler's debug log out of the report of a failed test."""
    logger = logging.getLogger("torch")
    before, logger.propagate = logger.propagate, False
    yield
    logger.propagate = before


def real_packs() -> Iterator[dict[str, Any]]:
    """Masked packs of the real cells, on the GPU, again and again: as they are, and with static shapes."""
    cells = [row[:MAX_TOKENS] for row in pq.read_table(REAL_DATA)["input_ids"].to_pylist()]
    vocabulary = json.loads(gzip.decompress(DICTIONARY.read_bytes()))
    masking = PackMasking(
        seed=1, mask_token_id=vocabulary["<mask>"], special_ids=(0, 1), random_token_ids=range(2, len(vocabulary)),
        mask_prob=0.15, mask_token_prob=0.8, random_token_prob=0.1,
    )  # fmt: skip
    to_static = StaticShapes(MAX_TOKENS)
    rows: list[list[int]] = []
    for idx in itertools.count():
        cell = cells[idx % len(cells)]
        if sum(map(len, rows)) + len(cell) > NUM_TOKENS:
            rows.sort(key=len, reverse=True)
            pack = build_packed_batch(
                np.concatenate(rows), np.array([len(row) for row in rows]), np.arange(len(rows)) + idx,
                max_tokens=NUM_TOKENS, pad_token_id=vocabulary["<pad>"], masking=masking,
            )  # fmt: skip
            yield {"plain": on_gpu(pack), "static": on_gpu(to_static(pack))}
            rows = []
        rows.append(cell)


def on_gpu(batch: Any) -> dict[str, Any]:
    return {name: value.cuda() if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def mean_loss(forward: Any, kind: str, model: Any, batch: Any) -> torch.Tensor:
    loss, count = packed_loss(batch[kind], forward(model, batch[kind]))
    return loss / count


def autocast_loss(model: Any, batch: Any) -> torch.Tensor:
    with torch.autocast("cuda", torch.bfloat16):
        return mean_loss(packed_forward_step, "plain", model, batch)


def compiled(kernel: str = "auto", *, cuda_graphs: bool = False) -> Variant:
    """What `--compile` runs: compiled layers and bf16 copies of the weights, in graphs with `--cuda-graphs`."""

    def prepare(model: Any) -> None:
        model.attention_kernel = kernel
        compile_layers(model.encoder.layers, fullgraph=True)

    forward = StaticForwardStep(max_seqlen=MAX_TOKENS, weight_dtype=torch.bfloat16, cuda_graphs=cuda_graphs)
    return Variant(prepare, partial(mean_loss, forward, "static"))


@pytest.fixture(scope="module")
def differences() -> list[Difference]:
    variants = {
        "autocast": Variant(lambda model: None, autocast_loss),
        "compiled": compiled(),
        "cuda graphs": compiled(cuda_graphs=True),
        **{f"kernel {name}": compiled(name) for name in KERNELS if is_installed(name)},
    }
    config = geneformer_config("V1-10M", hidden_dropout=0.0, attention_dropout=0.0)
    model = build_geneformer(config).model.cuda().train()
    exact = partial(mean_loss, packed_forward_step, "plain")
    found = differences_along_a_run(model, real_packs(), exact, variants, steps=STEPS)
    for row in found:
        print(row)
    return found


def test_losses_at_equal_weights_are_those_of_float32(differences: list[Difference]) -> None:
    assert {row.step for row in differences} == set(STEPS)
    wrong = [row for row in differences if row.loss > MAX_LOSS_ERROR]
    assert not wrong, wrong


def test_gradients_of_every_layer_point_where_those_of_float32_do(differences: list[Difference]) -> None:
    wrong = [row for row in differences if row.cosine < MIN_COSINE]
    assert not wrong, wrong


def validation_loss(result_dir: Path, name: str, **changes: object) -> float:
    dictionary = result_dir / "tokens.json"
    dictionary.write_bytes(gzip.decompress(DICTIONARY.read_bytes()))
    settings = {
        "train_tokens": REAL_DATA, "token_dictionary": dictionary, "result_dir": result_dir, "experiment_name": name,
        "model": "V1-10M", "num_steps": 200, "val_check_interval": 200, "limit_val_batches": None, "lr": 4e-4,
        "tokens_per_batch": 8192, "accelerator": "gpu", "disable_checkpointing": True, "save_best_checkpoint": False,
        "hidden_dropout": 0.0, "attention_dropout": 0.0, "compile": False, "cuda_graphs": False,
    }  # fmt: skip
    try:
        run_dir = train(TrainGeneformerConfig(**{**settings, **changes}))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be read
        pytest.fail(short_report(error), pytrace=False)
    return float(read_metrics(run_dir / "metrics.csv")["val_loss"][-1])


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


@pytest.fixture(scope="module")
def float32_loss(tmp_path_factory: pytest.TempPathFactory) -> float:
    return validation_loss(tmp_path_factory.mktemp("exact"), "exact", precision="fp32")


@pytest.mark.parametrize("changes", [{"compile": True}, {"compile": True, "cuda_graphs": True}, {}], ids=str)
def test_validation_loss_of_200_steps_is_that_of_float32(
    float32_loss: float, changes: dict[str, object], tmp_path: Path
) -> None:
    loss = validation_loss(tmp_path, "fast", **changes)
    print(f"{changes}: {loss:.5f}, float32 {float32_loss:.5f}")
    assert loss == pytest.approx(float32_loss, rel=5e-3)


def test_published_dropouts_train_alike_in_packs_and_cell_by_cell(tmp_path: Path) -> None:
    """Other random masks, the same distribution of them: the losses agree to a percent."""
    dropouts = {"hidden_dropout": 0.02, "attention_dropout": 0.02}
    exact = validation_loss(tmp_path, "exact", precision="fp32", **dropouts)
    packed = validation_loss(tmp_path, "packed", compile=True, **dropouts)
    print(f"published dropouts: packed {packed:.5f}, float32 cell by cell {exact:.5f}")
    assert packed == pytest.approx(exact, rel=1e-2)


@pytest.mark.parametrize("head_dim", [16, 64])
def test_dropout_of_the_kernel_equals_float32_under_its_own_mask(head_dim: int) -> None:
    kernel = KERNELS["torch"]
    assert kernel.attend_with_dropout is not None
    device = torch.device("cuda")
    assert check_dropout(kernel.plan, kernel.attend_with_dropout, 4, head_dim, torch.bfloat16, device) is None
