# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Static shapes, half-precision weights and compiled layers change the speed of a step, not its result."""

import copy
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bionemo.llm.data.masking import PackMasking
from bionemo.llm.data.packing import SLOTS_MULTIPLE, build_packed_batch, cover_tail
from bionemo.llm.lightning import BionemoLightningModule, packed_forward_step, packed_loss
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.model import MegatronBioBertModel, build_model
from bionemo.llm.model.compiled import compile_layers
from bionemo.llm.model.half_precision import parameters_to_cast
from bionemo.llm.model.recompute import recompute_layers
from bionemo.llm.training.optimizer import OptimizerConfig
from bionemo.llm.training.static_forward import (
    CAST_TOGETHER,
    ROWS_MULTIPLE,
    StaticForwardStep,
    StaticShapes,
)
from bionemo.llm.training.trainer import build_trainer
from bionemo.testing.exact_attention import exact_attention_kernel


MAX_SEQLEN, NUM_TOKENS = 32, 128
to_static = StaticShapes(MAX_SEQLEN)


class Tokens:
    vocab_size = 30
    mask_token_id = 29
    pad_token_id = 1


@pytest.fixture
def kernel() -> Iterator[None]:
    """Lets the models of a test take the path of a GPU kernel, with an exact kernel that runs here."""
    with exact_attention_kernel():
        yield


ESM2 = {"position_embedding_type": "rope"}
GENEFORMER = {"position_embedding_type": "learned_absolute", "norm_placement": "post"}


def small_model(**changes: Any) -> MegatronBioBertModel:
    settings = {
        "num_layers": 2, "hidden_size": 16, "num_attention_heads": 2,
        "hidden_dropout": 0.0, "attention_dropout": 0.0, "share_embeddings_and_output_weights": True,
    }  # fmt: skip
    return build_model(BioBertConfig(**{**settings, **changes}), Tokens(), seed=3)


@pytest.fixture(params=[ESM2, GENEFORMER], ids=["esm2", "geneformer"])
def model(request: pytest.FixtureRequest) -> MegatronBioBertModel:
    return small_model(**request.param)


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


@pytest.mark.parametrize("backend", ["aot_eager", "aot_eager_decomp_partition"])
def test_compiled_layers_are_one_graph_and_change_nothing(
    model: MegatronBioBertModel, kernel: None, backend: str
) -> None:
    """Three batches of other lengths; more than two compilations would mean that shapes are not static."""
    plain = copy.deepcopy(model)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compile_layers(model.encoder.layers, backend=backend, fullgraph=True)
    step, plain_step = (StaticForwardStep(max_seqlen=MAX_SEQLEN, weight_dtype=torch.bfloat16) for _ in range(2))
    tolerance = {} if backend == "aot_eager" else {"rtol": 1e-2, "atol": 2e-2}  # decompositions round elsewhere
    for seed, lengths in enumerate([(5, 30, 1, 32, 7), (32,) * 3, (1,) * 40]):
        batch = to_static(make_batch(seed, lengths))
        expected = loss_and_gradients(plain, plain_step, batch)
        torch.testing.assert_close(loss_and_gradients(model, step, batch), expected, **tolerance)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2


def test_validation_between_training_steps_is_one_more_graph(model: MegatronBioBertModel, kernel: None) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    step, batch = StaticForwardStep(max_seqlen=MAX_SEQLEN, weight_dtype=torch.bfloat16), to_static(make_batch())
    with torch.no_grad():
        expected, _ = packed_loss(batch, step(model.eval(), batch))
    compile_layers(model.encoder.layers, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        loss_and_gradients(model.train(), step, batch)
        with torch.no_grad():
            loss, _ = packed_loss(batch, step(model.eval(), batch))
        assert torch.equal(loss, expected)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    assert not torch._dynamo.utils.counters["graph_break"]


def test_what_is_computed_again_is_the_same_to_the_bit(model: MegatronBioBertModel, kernel: None) -> None:
    backend, batch, plain = "aot_eager_decomp_partition", to_static(make_batch()), copy.deepcopy(model)
    torch._dynamo.reset()
    for layer in plain.encoder.layers:
        layer.compile(backend=backend, fullgraph=True)
    compile_layers(model.encoder.layers, backend=backend, fullgraph=True)
    step, plain_step = (StaticForwardStep(max_seqlen=MAX_SEQLEN, weight_dtype=torch.bfloat16) for _ in range(2))
    ours, expected = loss_and_gradients(model, step, batch), loss_and_gradients(plain, plain_step, batch)
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)


def kept_bytes(model: MegatronBioBertModel) -> int:
    """Bytes of all storages with a row for each token that a training forward pass keeps for its backward pass."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape[:1] == (NUM_TOKENS,):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    step = StaticForwardStep(max_seqlen=MAX_SEQLEN, weight_dtype=torch.bfloat16)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = step(model, to_static(make_batch()))
    del output
    return sum(kept.values())


@pytest.mark.parametrize(
    ("kind", "bytes_a_unit"),
    [(ESM2, 20), (GENEFORMER, 26)],
    ids=["esm2", "geneformer"],
)
def test_a_compiled_layer_keeps_what_its_products_made(kind: dict[str, Any], bytes_a_unit: int, kernel: None) -> None:
    """In bf16: two residual sums, attention's three arguments and its result, fc1's result.

    A post-LN layer keeps its two sums in float32, and what the norm of one makes of it.
    """
    hidden_size, kept = 64, []
    for num_layers in (1, 3):
        torch._dynamo.reset()
        model = small_model(num_layers=num_layers, hidden_size=hidden_size, **kind)
        compile_layers(model.encoder.layers, backend="aot_eager_decomp_partition", fullgraph=True)
        kept.append(kept_bytes(model))
    a_token_and_layer = (kept[1] - kept[0]) / 2 / NUM_TOKENS
    statistics = (2 * 2 + 2) * 4  # mean and deviation of two norms, attention's of two heads
    assert bytes_a_unit * hidden_size <= a_token_and_layer <= bytes_a_unit * hidden_size + statistics


def test_cast_weights_give_the_gradients_of_a_half_precision_model() -> None:
    model = small_model(**ESM2)
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


def test_a_post_norm_model_with_cast_weights_is_as_near_to_float32_as_autocast() -> None:
    """Three times as far where norms and embedding round the state: their parameters keep float32."""
    model, batch = small_model(**GENEFORMER, num_layers=6, hidden_size=64), to_static(make_batch())
    exact = loss_and_gradients(model, StaticForwardStep(max_seqlen=MAX_SEQLEN), batch)
    cast = loss_and_gradients(model, StaticForwardStep(max_seqlen=MAX_SEQLEN, weight_dtype=torch.bfloat16), batch)
    with torch.autocast("cpu", torch.bfloat16):
        autocast = loss_and_gradients(model, StaticForwardStep(max_seqlen=MAX_SEQLEN), batch)

    def one_minus_cosine(found: tuple[Any, ...]) -> float:
        ours, expected = (torch.cat([g.double().flatten() for g in each[2]]) for each in (found, exact))
        return 1 - torch.cosine_similarity(ours, expected, dim=0).item()

    assert 0 < one_minus_cosine(cast) < 1.2 * one_minus_cosine(autocast)


def test_frozen_weights_get_no_gradient_through_the_cast(model: MegatronBioBertModel) -> None:
    frozen = model.encoder.layers[0].mlp.linear_fc1.weight.requires_grad_(requires_grad=False)
    step = StaticForwardStep(max_seqlen=MAX_SEQLEN, weight_dtype=torch.bfloat16)
    loss, _ = packed_loss(to_static(make_batch()), step(model, to_static(make_batch())))
    loss.backward()
    assert frozen.grad is None
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad and p.numel() > 16)


class Calls(TorchDispatchMode):
    """Notes the operators of a training step."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        reads_values = func.overloadpacket in WAIT_FOR_THE_DEVICE or (
            func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put_)
            and any(idx is not None and idx.dtype == torch.bool for idx in args[1])
        )
        self.names.append(f"WAIT {func}" if reads_values else str(func.overloadpacket))
        return func(*args, **kwargs or {})


WAIT_FOR_THE_DEVICE = {
    getattr(torch.ops.aten, name)
    for name in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2")
}


class NoteTheSecondStep(pl.Callback):
    """The first makes the optimizer's state."""

    def __init__(self) -> None:
        self.calls = Calls()

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 1:
            self.calls.__enter__()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 1:
            self.calls.__exit__(None, None, None)


def test_a_training_step_waits_for_no_device_and_uses_few_kernels_beside_the_layers(
    model: MegatronBioBertModel, kernel: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Token ids are compared with the vocabulary on a CPU alone.
    monkeypatch.setattr("bionemo.llm.model.biobert.model.check_token_ids", lambda *_: None)
    note = NoteTheSecondStep()
    trainer = build_trainer(
        accelerator="cpu", precision="32-true", devices=1, num_nodes=1, max_steps=3, val_check_interval=100,
        limit_val_batches=0, accumulate_grad_batches=1, gradient_clip=1.0, callbacks=[note], loggers=[],
    )  # fmt: skip
    module = BionemoLightningModule(
        model.bert_config, StaticForwardStep(max_seqlen=MAX_SEQLEN, weight_dtype=torch.bfloat16),
        optimizer=OptimizerConfig(), loss_function=packed_loss, module=model,
    )  # fmt: skip
    batches = [to_static(make_batch(seed)) for seed in range(3)]
    trainer.fit(module, torch.utils.data.DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch))
    names = note.calls.names
    assert len(names) > 100
    assert not [name for name in names if name.startswith("WAIT")]
    chunks = -(-len(parameters_to_cast(model)) // CAST_TOGETHER)
    assert names.count("aten._foreach_copy_") == 2 * chunks
    assert (names.count("aten._foreach_norm"), names.count("aten._foreach_mul_")) == (1, 1)
    assert names.count("aten._fused_adamw_") == 2  # with and without decay


def test_attention_dropout_goes_through_compiled_layers_as_through_others(kernel: None) -> None:
    """The same seed drops the same weights; without dropout the loss is another."""
    model = small_model(**GENEFORMER, attention_dropout=0.3).train()
    step, batch = StaticForwardStep(max_seqlen=MAX_SEQLEN), to_static(make_batch())

    def drawn(seed: int) -> tuple[Any, ...]:
        torch.manual_seed(seed)
        return loss_and_gradients(model, step, batch)

    plain, other = drawn(1), drawn(2)
    assert abs(plain[0] - other[0]) > 1e-5
    torch._dynamo.reset()
    compile_layers(model.encoder.layers, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(drawn(1), plain)
    model.eval()
    assert abs(loss_and_gradients(model, step, batch)[0] - plain[0]) > 1e-5


@pytest.mark.parametrize("granularity", ["selective", "full"])
def test_recomputed_layers_compile_and_change_nothing(granularity: str, kernel: None) -> None:
    model = small_model(**ESM2)
    step, batch = StaticForwardStep(max_seqlen=MAX_SEQLEN, weight_dtype=torch.bfloat16), to_static(make_batch())
    expected = loss_and_gradients(model, step, batch)
    torch._dynamo.reset()
    recompute_layers(model.encoder.layers, granularity)
    compile_layers(model.encoder.layers, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(loss_and_gradients(model, step, batch), expected)
