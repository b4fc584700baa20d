# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""cuDNN's attention for sequences of different lengths, through ``nvidia-cudnn-frontend`` (extra ``[cudnn]``).

A cuDNN graph is built once for each shape (1.4 s the first, 0.1 s each further one) and kept for the
life of the process. Tensors are described as [B, N, S, D] with ragged offsets: sequence b starts ``cu_seqlens[b]``
rows into the packed batch.

Letters: T tokens, B sequences, N attention heads, D head dim, S longest sequence.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from bionemo.core.errors import ConfigError
from bionemo.llm.model.varlen.registration import register_attention


Q, K, V, OUT, STATS, GRAD_OUT, GRAD_Q, GRAD_K, GRAD_V, Q_LENGTHS, K_LENGTHS, STATS_OFFSETS = range(1, 13)
FIRST_ROW_OFFSETS = 20
"""cuDNN's ids of the tensors; the offsets of each row length that occurs come last."""

PLAIN, FUSED = 1, 3
"""Row lengths in units of N * D: a tensor of its own, or a third of the fused query-key-value projection."""

OFFSETS = {PLAIN: 0, FUSED: 1}
STATS_ROW, LENGTHS_ROW = 2, 3


def plan(cu_seqlens: Tensor, num_heads: int, head_dim: int) -> Tensor:
    """Return what the kernel needs to know of a packed batch.

    Args:
        cu_seqlens: [B + 1] int32.
        num_heads: N.
        head_dim: D.

    Returns:
        [4, B + 1] int32: offsets of the sequences in rows of N * D and of 3 * N * D values, offsets in rows of N
        values, and lengths (the last column of these is unused).
    """
    width = num_heads * head_dim
    lengths = torch.nn.functional.pad(cu_seqlens.diff(), (0, 1))
    return torch.stack((cu_seqlens * (PLAIN * width), cu_seqlens * (FUSED * width), cu_seqlens * num_heads, lengths))


class _Shape(NamedTuple):
    """Everything that an execution plan depends on."""

    backward: bool
    device: torch.device
    dtype: torch.dtype
    num_sequences: int
    num_heads: int
    max_seqlen: int
    head_dim: int
    num_tokens: int
    scale: float
    strides: tuple[tuple[int, int], ...]
    """Row and head stride of query, key and value."""


class _ExecutionPlan(NamedTuple):
    graph: Any
    workspace_bytes: int
    row_offsets: dict[int, int]
    """Id of an offset tensor -> its row of the packed batch's plan."""


_handles: dict[torch.device, Any] = {}
_execution_plans: dict[_Shape, _ExecutionPlan] = {}


def _handle(device: torch.device) -> Any:
    import cudnn

    if device not in _handles:
        _handles[device] = cudnn.create_handle()
    cudnn.set_stream(handle=_handles[device], stream=torch.cuda.current_stream(device).cuda_stream)
    return _handles[device]


def _build(shape: _Shape) -> _ExecutionPlan:
    """Describe one attention, forward or backward, to cuDNN and let it compile."""
    import cudnn

    half = {torch.float16: cudnn.data_type.HALF, torch.bfloat16: cudnn.data_type.BFLOAT16}[shape.dtype]
    exact, int32 = cudnn.data_type.FLOAT, cudnn.data_type.INT32
    batch, heads, longest, dim = shape.num_sequences, shape.num_heads, shape.max_seqlen, shape.head_dim
    width = heads * dim
    graph = cudnn.pygraph(
        handle=_handle(shape.device), io_data_type=half, intermediate_data_type=exact, compute_data_type=exact
    )

    def integers(name: str, uid: int, length: int) -> Any:
        return graph.tensor(name=name, dim=[length, 1, 1, 1], stride=[1, 1, 1, 1], data_type=int32, uid=uid)

    factors = sorted({PLAIN} | {row // width for row, _ in shape.strides})
    uids = {factor: FIRST_ROW_OFFSETS + place for place, factor in enumerate(factors)}
    offsets = {factor: integers(f"offsets{factor}", uid, batch + 1) for factor, uid in uids.items()}
    stats_offsets = integers("stats_offsets", STATS_OFFSETS, batch + 1)
    lengths = {
        "seq_len_q": integers("q_lengths", Q_LENGTHS, batch),
        "seq_len_kv": integers("k_lengths", K_LENGTHS, batch),
    }
    dims, stats_dims = [batch, heads, longest, dim], [batch, heads, longest, 1]
    stats_stride = [longest * heads, 1, heads, 1]

    def rows(name: str, uid: int, row_stride: int = width, head_stride: int = dim) -> Any:
        stride = [longest * row_stride, head_stride, row_stride, 1]
        tensor = graph.tensor(name=name, dim=dims, stride=stride, data_type=half, uid=uid)
        tensor.set_ragged_offset(offsets[row_stride // width])
        return tensor

    def output(tensor: Any, uid: int) -> None:
        tensor.set_uid(uid).set_output(True).set_data_type(half)
        tensor.set_dim(dims).set_stride([longest * width, dim, width, 1])
        tensor.set_ragged_offset(offsets[PLAIN])

    inputs = {
        name: rows(name, uid, *strides) for name, uid, strides in zip("qkv", (Q, K, V), shape.strides, strict=True)
    }
    common = {"attn_scale": shape.scale, "use_padding_mask": True, **lengths}
    if shape.backward:
        stats = graph.tensor(name="stats", dim=stats_dims, stride=stats_stride, data_type=exact, uid=STATS)
        stats.set_ragged_offset(stats_offsets)
        grads = graph.sdpa_backward(
            **inputs, o=rows("o", OUT), dO=rows("dO", GRAD_OUT), stats=stats, name="attention_backward",
            max_total_seq_len_q=shape.num_tokens, max_total_seq_len_kv=shape.num_tokens, **common,
        )  # fmt: skip
        for tensor, uid in zip(grads, (GRAD_Q, GRAD_K, GRAD_V), strict=True):
            output(tensor, uid)
    else:
        context, stats = graph.sdpa(**inputs, generate_stats=True, compute_data_type=exact, name="attention", **common)
        output(context, OUT)
        stats.set_uid(STATS).set_output(True).set_data_type(exact).set_dim(stats_dims).set_stride(stats_stride)
        stats.set_ragged_offset(stats_offsets)
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    graph.check_support()
    graph.build_plans()
    rows_of_plan = {uid: OFFSETS[factor] for factor, uid in uids.items()}
    return _ExecutionPlan(graph, graph.get_workspace_size(), rows_of_plan)


def _run(shape: _Shape, plan: Tensor, tensors: dict[int, Tensor]) -> None:
    """Execute the plan of a shape, built at its first use."""
    if shape not in _execution_plans:
        _execution_plans[shape] = _build(shape)
    execution = _execution_plans[shape]
    pointers = {uid: tensor.data_ptr() for uid, tensor in tensors.items()}
    pointers |= {uid: plan[LENGTHS_ROW].data_ptr() for uid in (Q_LENGTHS, K_LENGTHS)}
    pointers[STATS_OFFSETS] = plan[STATS_ROW].data_ptr()
    pointers |= {uid: plan[row].data_ptr() for uid, row in execution.row_offsets.items()}
    workspace = torch.empty(max(execution.workspace_bytes, 1), dtype=torch.uint8, device=plan.device)
    execution.graph.execute(pointers, workspace.data_ptr(), handle=_handle(shape.device))


def _readable(tensor: Tensor) -> Tensor:
    """Return the tensor, copied if its strides are none that the plans describe or its address is not aligned."""
    width = tensor.shape[1] * tensor.shape[2]
    fits = tensor.stride(2) == 1 and tensor.stride(0) in (PLAIN * width, FUSED * width) and tensor.stride(1) % 8 == 0
    return tensor if fits and tensor.data_ptr() % 16 == 0 else tensor.contiguous()


def _shape(query: Tensor, key: Tensor, value: Tensor, plan: Tensor, max_seqlen: int, scale: float) -> _Shape:
    num_tokens, num_heads, head_dim = query.shape
    if FUSED * query.numel() >= 2**31:
        raise ConfigError(
            f"a pack of {num_tokens} tokens with {num_heads} heads of {head_dim} channels is too large for cuDNN's "
            "32-bit offsets. Lower --tokens-per-batch, or use --attention torch."
        )
    strides = tuple((x.stride(0), x.stride(1)) for x in (query, key, value))
    return _Shape(
        backward=False, device=query.device, dtype=query.dtype, num_sequences=plan.shape[1] - 1, num_heads=num_heads,
        max_seqlen=max_seqlen, head_dim=head_dim, num_tokens=num_tokens, scale=scale, strides=strides,
    )  # fmt: skip


def _forward(
    query: Tensor, key: Tensor, value: Tensor, plan: Tensor, max_seqlen: int, scale: float
) -> tuple[Tensor, Tensor]:
    query, key, value = _readable(query), _readable(key), _readable(value)
    context = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    stats = torch.empty(query.shape[:2], dtype=torch.float32, device=query.device)
    shape = _shape(query, key, value, plan, max_seqlen, scale)
    _run(shape, plan, {Q: query, K: key, V: value, OUT: context, STATS: stats})
    return context, stats


def _backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, context: Tensor, stats: Tensor, plan: Tensor,
    max_seqlen: int, scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    # cuDNN sums the query's gradient in a workspace addressed by the query's own offsets: with those of the fused
    # projection it writes behind the workspace's end.
    query, key, value, grad = query.contiguous(), _readable(key), _readable(value), grad.contiguous()
    grads = [torch.empty(query.shape, dtype=query.dtype, device=query.device) for _ in range(3)]
    shape = _shape(query, key, value, plan, max_seqlen, scale)._replace(backward=True)
    tensors = {Q: query, K: key, V: value, OUT: context, STATS: stats, GRAD_OUT: grad}
    _run(shape, plan, tensors | dict(zip((GRAD_Q, GRAD_K, GRAD_V), grads, strict=True)))
    return grads[0], grads[1], grads[2]


attend = register_attention("cudnn_attention", _forward, _backward, stats_shape=lambda tokens, heads: (tokens, heads))
"""Attend within each sequence; arguments and result as in :func:`bionemo.llm.model.varlen.torch_flash.attend`."""
