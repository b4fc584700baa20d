# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Static shapes, half-precision weights and compiled layers change the speed of a step, not its result."""

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from bionemo.llm.data.masking import PackMasking
from bionemo.llm.data.packing import build_packed_batch, cover_tail
from bionemo.llm.lightning import packed_forward_step, packed_loss
from bionemo.llm.model.attention import SequenceTable, sequence_by_sequence_attention
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.model import MegatronBioBertModel, build_model
from bionemo.llm.model.varlen.kernels import KERNELS, VarlenKernel
from bionemo.llm.static_forward import ROWS_MULTIPLE, SLOTS_MULTIPLE, StaticForwardStep, StaticShapes


MAX_SEQLEN, NUM_TOKENS = 32, 128
to_static = StaticShapes(MAX_SEQLEN)


class Tokens:
    vocab_size = 30
    mask_token_id = 29
    pad_token_id = 1


@torch.library.custom_op("bionemo_tests::exact_attention", mutates_args=())
def exact_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, plan: torch.Tensor, max_seqlen: int, scale: float
) -> torch.Tensor:
    assert int(plan.diff().max()) <= max_seqlen
    table = SequenceTable(plan, max_seqlen, int(plan[-1]), None, None, None)
    return sequence_by_sequence_attention(query, key, value, table, scale)


@exact_attention.register_fake
def _(query, key, value, plan, max_seqlen, scale):
    return query.new_empty(query.shape)


@torch.library.custom_op("bionemo_tests::exact_attention_backward", mutates_args=())
def exact_attention_backward(
    grad: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, plan: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """By formula: autograd does not reach into an operator."""
    gradients = query.new_empty(3, *query.shape)
    for start, end in itertools.pairwise(plan.tolist()):
        q, k, v, g = (x[start:end].transpose(0, 1) for x in (query, key, value, grad))
        weights = torch.softmax(scale * (q @ k.mT), dim=-1)
        slopes = g @ v.mT
        slopes = scale * weights * (slopes - (slopes * weights).sum(-1, keepdim=True))
        for place, gradient in enumerate((slopes @ k, slopes.mT @ q, weights.mT @ g)):
            gradients[place, start:end] = gradient.transpose(0, 1)
    return gradients[0].clone(), gradients[1].clone(), gradients[2].clone()


@exact_attention_backward.register_fake
def _(grad, query, key, value, plan, scale):
    return query.new_empty(query.shape), query.new_empty(query.shape), query.new_empty(query.shape)


def keep(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.scale = inputs[5]


def differentiate(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
    return (*exact_attention_backward(grad, *ctx.saved_tensors, ctx.scale), None, None, None)


exact_attention.register_autograd(differentiate, setup_context=keep)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the models of a test take the path of a GPU kernel, with an exact kernel that runs here."""
    stand_in = VarlenKernel("torch", "torch", lambda cu_seqlens, heads, head_dim: cu_seqlens, exact_attention)
    monkeypatch.setitem(KERNELS, "exact", stand_in)
    monkeypatch.setattr(MegatronBioBertModel, "choose_kernel", lambda self, embedded: "exact")


@pytest.fixture
def model() -> MegatronBioBertModel:
    config = BioBertConfig(
        num_layers=2, hidden_size=16, num_attention_heads=2, position_embedding_type="rope",
        hidden_dropout=0.0, attention_dropout=0.0, share_embeddings_and_output_weights=True,
    )  # fmt: skip
    return build_model(config, Tokens(), seed=3)


def make_batch(seed: int = 0, lengths: tuple[int, ...] = (5, 30, 1, 32, 7)) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    masking = PackMasking(
        seed=1, mask_token_id=29, random_token_ids=range(4, 29), special_ids=(0, 1, 2, 29), mask_prob=0.5
    )
    tokens = rng.integers(4, 29, size=sum(lengths))
    idx = np.arange(len(lengths), dtype=np.int64)
    return build_packed_batch(
        tokens, np.array(lengths, dtype=np.int64), idx, max_tokens=NUM_TOKENS, pad_token_id=1, masking=masking
    )


def loss_and_gradients(model: MegatronBioBertModel, step: Any, batch: dict[str, Any]) -> tuple[Any, ...]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    loss, count = packed_loss(batch, step(model, batch))
    return loss.detach(), count, torch.autograd.grad(loss, parameters)


@pytest.mark.parametrize("used", [0, 100, 127, 128])
def test_the_tail_is_divided_into_sequences(used: int) -> None:
    cu_seqlens = torch.tensor([0, used, used, used], dtype=torch.int32)
    covered = cover_tail(cu_seqlens, 1, 128, 32, 8)
    assert covered.dtype == torch.int32
    assert (len(covered) - 1) % 8 == 0
    assert covered[:2].tolist() == [0, used]
    assert covered[-1] == 128
    assert int(covered[1:].diff().max()) <= 32
    assert int(covered.diff().min()) >= 0


def test_prepared_batches_have_few_shapes() -> None:
    batches = [to_static(make_batch(seed, lengths)) for seed, lengths in enumerate([(5, 30), (1,) * 20, (32,) * 4])]
    for batch in batches:
        assert len(batch["cu_seqlens"]) == SLOTS_MULTIPLE + 1
        assert len(batch["label_rows"]) == len(batch["row_labels"]) == ROWS_MULTIPLE
        labelled = batch["row_labels"] != -100
        assert torch.equal(batch["labels"][batch["label_rows"][labelled]], batch["row_labels"][labelled])
        assert labelled.sum() == (batch["labels"] != -100).sum()


def test_static_shapes_change_nothing(model: MegatronBioBertModel, kernel: None) -> None:
    batch = make_batch()
    step = StaticForwardStep(max_seqlen=MAX_SEQLEN)
    expected, count, gradients = loss_and_gradients(model, packed_forward_step, batch)
    loss, same_count, ours = loss_and_gradients(model, step, to_static(batch))
    assert count == same_count > 0
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(ours, gradients)


def test_compiled_layers_are_one_graph_and_change_nothing(model: MegatronBioBertModel, kernel: None) -> None:
    """Three batches of other lengths; more than two compilations would mean that shapes are not static."""
    step = StaticForwardStep(max_seqlen=MAX_SEQLEN, weight_dtype=torch.bfloat16)
    plain = copy.deepcopy(model)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for layer in model.encoder.layers:
        layer.compile(backend="aot_eager", fullgraph=True)
    for seed, lengths in enumerate([(5, 30, 1, 32, 7), (32,) * 3, (1,) * 40]):
        batch = to_static(make_batch(seed, lengths))
        expected = loss_and_gradients(
            plain, StaticForwardStep(max_seqlen=MAX_SEQLEN, weight_dtype=torch.bfloat16), batch
        )
        torch.testing.assert_close(loss_and_gradients(model, step, batch), expected)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2


def test_cast_weights_give_the_gradients_of_a_half_precision_model(model: MegatronBioBertModel) -> None:
    step = StaticForwardStep(max_seqlen=MAX_SEQLEN, weight_dtype=torch.bfloat16)
    batch = to_static(make_batch())
    half = copy.deepcopy(model).bfloat16()
    expected, _, gradients = loss_and_gradients(half, StaticForwardStep(max_seqlen=MAX_SEQLEN), batch)
    loss, _, ours = loss_and_gradients(model, step, batch)
    assert all(gradient.dtype == torch.float32 for gradient in ours)
    assert torch.equal(loss, expected)
    for mine, theirs in zip(ours, gradients, strict=True):
        assert torch.equal(mine, theirs.float())
    assert all(p.dtype == torch.float32 for p in model.parameters())
