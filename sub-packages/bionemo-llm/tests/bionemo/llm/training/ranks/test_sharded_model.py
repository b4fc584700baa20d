# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A sharded model starts with the weights of one process, and no rank's memory ever holds all of them."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.weight_files import open_weights
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.model import MegatronBioBertModel, build_model
from bionemo.llm.training.ranks.deferred_init import DeferredModel, build_recorded
from bionemo.llm.training.ranks.sharded_model import fill_from_state, materialize, rows_of
from bionemo.testing.multiprocess import run_on_ranks, warm_pool
from bionemo.testing.peak_memory import (
    assert_no_rank_held_the_whole_model,
    can_measure,
    peak_of_sharded_start,
    sharded_start,
)


VOCABULARY = SimpleNamespace(vocab_size=33, mask_token_id=32, pad_token_id=1)
ESM2 = {"position_embedding_type": "rope", "share_embeddings_and_output_weights": True}
SMALL = BioBertConfig(num_layers=2, hidden_size=16, num_attention_heads=2, **ESM2)
SHAPE_35M = BioBertConfig(num_layers=12, hidden_size=480, num_attention_heads=20, **ESM2)
SEED = 3


@pytest.fixture(scope="module", autouse=True)
def warm_ranks() -> None:
    warm_pool("bionemo.llm.training.ranks.sharded_model", "bionemo.llm.checkpoints.weight_files")


def deferred(shape: BioBertConfig, checkpoint: Path | None = None) -> DeferredModel[MegatronBioBertModel]:
    """Build a model without memory, to be filled from a seed or a checkpoint."""
    model, initialization = build_recorded(lambda: build_model(shape, VOCABULARY))
    if checkpoint is None:
        return DeferredModel(model, partial(initialization.replay, SEED))
    return DeferredModel(model, fill_from_state(open_weights(checkpoint)))


def difference_from_one_process(shape: BioBertConfig) -> tuple[float, set[str]]:
    """Return the largest difference, and the modules that are gathered one at a time."""
    expected = build_model(shape, VOCABULARY, seed=SEED).state_dict()
    model = sharded_start(partial(deferred, shape))
    found, units = model.state_dict(), {name for name, part in model.named_modules() if isinstance(part, FSDPModule)}
    assert found.keys() == expected.keys()
    wholes = {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in found.items()}
    return max((wholes[name] - expected[name]).abs().max().item() for name in expected), units


def test_a_seed_gives_the_weights_of_one_process() -> None:
    units = {"", "encoder.layers.0", "encoder.layers.1"}
    assert run_on_ranks(2, difference_from_one_process, SMALL) == [(0.0, units)] * 2


def test_a_tensor_that_nothing_fills_is_named() -> None:
    with torch.device("meta"):
        module = nn.Linear(2, 3)
    with pytest.raises(CheckpointError, match="the weights lack 1 tensors of the model, first bias"):
        materialize(module, fill_from_state({"weight": torch.ones(3, 2)}), torch.device("cpu"))


def peak_of_start(checkpoint: Path | None) -> int:
    return peak_of_sharded_start(partial(deferred, SMALL), partial(deferred, SHAPE_35M, checkpoint))


@pytest.mark.skipif(not can_measure(), reason="the peak of memory is read from Linux's /proc")
@pytest.mark.parametrize(
    ("num_ranks", "from_file"),
    [(2, False), pytest.param(4, True, marks=pytest.mark.nightly), pytest.param(4, False, marks=pytest.mark.nightly)],
)
def test_no_rank_holds_the_whole_model(num_ranks: int, from_file: bool, tmp_path: Path) -> None:
    """35M: the peak is at most its share, two layers and 64 MiB."""
    if from_file:
        import safetensors.torch

        state = build_model(SHAPE_35M, VOCABULARY, seed=SEED).state_dict()
        safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    peaks = run_on_ranks(num_ranks, peak_of_start, tmp_path if from_file else None)
    spare = {2: 24 << 20, 4: 64 << 20}[num_ranks]  # the limit is below the whole model, so that the test can fail
    assert_no_rank_held_the_whole_model(peaks, SHAPE_35M, 33, spare_bytes=spare)


def test_rows_are_those_of_torch() -> None:
    for num_rows in (1, 5, 33, 128):
        for num_ranks in (1, 2, 3, 4, 7):
            chunks = torch.arange(num_rows).chunk(num_ranks)
            for rank in range(num_ranks):
                rows = rows_of(num_rows, rank, num_ranks)
                expected = chunks[rank].tolist() if rank < len(chunks) else []
                assert list(range(rows.start, rows.stop)) == expected
