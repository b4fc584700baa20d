# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Recomputed layers give the same gradients, run twice, and keep less."""

from types import SimpleNamespace

import pytest
import torch

from bionemo.llm.data.packing import pack_padded
from bionemo.llm.lightning import packed_forward_step, packed_loss
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.model import MegatronBioBertModel, build_model
from bionemo.llm.model.recompute import recompute_layers


TOKENIZER = SimpleNamespace(vocab_size=33, mask_token_id=32, pad_token_id=1)
CONFIG = BioBertConfig(num_layers=2, hidden_size=32, num_attention_heads=4, hidden_dropout=0.1, attention_dropout=0.0)


def step(model: MegatronBioBertModel) -> tuple[list[torch.Tensor], int, int]:
    """Gradients, calls of the first layer's projection and bytes kept for the backward pass."""
    ids = torch.randint(4, 30, (2, 40), generator=torch.Generator().manual_seed(1))
    batch = dict(pack_padded(ids, ids > 0, labels=ids))
    calls, kept = [], []
    projection = model.encoder.layers[0].self_attention.linear_qkv
    hooks = [projection.register_forward_hook(lambda *_: calls.append("projection"))]
    torch.manual_seed(7)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.nbytes) or x, lambda x: x):
        loss, _ = packed_loss(batch, packed_forward_step(model, batch))
    loss.backward()
    for hook in hooks:
        hook.remove()
    return [p.grad for p in model.parameters()], len(calls), sum(kept)


def test_the_same_gradients_from_less_memory() -> None:
    models = {kind: build_model(CONFIG, TOKENIZER, seed=1) for kind in ("none", "selective", "full")}
    for kind, model in models.items():
        recompute_layers(model.encoder.layers, kind)
    results = {kind: step(model) for kind, model in models.items()}
    for kind in ("selective", "full"):
        for ours, theirs in zip(results[kind][0], results["none"][0], strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    assert [results[kind][1] for kind in ("none", "selective", "full")] == [1, 1, 2]
    assert results["full"][2] < results["selective"][2] < results["none"][2]
    assert list(models["full"].state_dict()) == list(models["none"].state_dict())


@pytest.mark.parametrize("kind", ["selective", "full"])
def test_without_gradients_nothing_is_computed_twice(kind: str) -> None:
    model = build_model(CONFIG, TOKENIZER, seed=1)
    recompute_layers(model.encoder.layers, kind)
    calls: list[int] = []
    model.encoder.layers[0].mlp.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        model(torch.tensor([[0, 5, 6, 2]]))
    assert len(calls) == 1
