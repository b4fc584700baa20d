# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The forward pass of a packed batch for GPUs: shapes that stay the same, half-precision weights, CUDA graphs.

Compiled layers and captured graphs want the same shapes at every step. So the tail of a pack is computed like
sequences (nothing reads it, so it gets no gradient), and slots and masked positions are rounded up.

Letters: T tokens of a pack, B slots for sequences, M rows that get logits, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX
from bionemo.llm.data.packing import SLOTS_MULTIPLE, cover_tail
from bionemo.llm.model.biobert.model import MegatronBioBertModel
from bionemo.llm.model.half_precision import parameters_to_cast


ROWS_MULTIPLE = 512
CAST_TOGETHER = 16
"""Parameters that one kernel casts: about a layer's, so that data-parallel ranks can average gradients early."""


@dataclass(frozen=True)
class StaticShapes:
    """Pad a batch to its static shapes, on the host: a loader's ``collate_fn``.

    Attributes:
        max_seqlen: Length that no sequence exceeds.
    """

    max_seqlen: int

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Round up what varies.

        Args:
            batch: A ``PackedBatch`` on the CPU.

        Returns:
            The batch with ``cu_seqlens`` over all T tokens, ``label_rows`` [M] int64 and ``row_labels`` [M] int64,
            -100 where a row was added.
        """
        labels = batch["labels"]
        rows = (labels != MLM_LOSS_IGNORE_INDEX).nonzero().squeeze(1)
        padding = (0, -len(rows) % ROWS_MULTIPLE)
        cu_seqlens = cover_tail(
            batch["cu_seqlens"], batch["num_sequences"], len(labels), self.max_seqlen, SLOTS_MULTIPLE
        )
        return {
            **batch,
            "cu_seqlens": cu_seqlens,
            "label_rows": F.pad(rows, padding),
            "row_labels": F.pad(labels[rows], padding, value=MLM_LOSS_IGNORE_INDEX),
        }


class PackedLogits(nn.Module):
    """A BioBERT model as a function of tensors alone.

    Args:
        model: The model.
        max_seqlen: Length that no sequence exceeds.
    """

    def __init__(self, model: MegatronBioBertModel, max_seqlen: int) -> None:
        super().__init__()
        self.model = model
        self.max_seqlen = max_seqlen

    def forward(self, input_ids: Tensor, position_ids: Tensor, cu_seqlens: Tensor, label_rows: Tensor) -> Tensor:
        """Return the logits [M, V] of some rows; ``cu_seqlens`` covers all T tokens."""
        output = self.model.forward_packed(
            input_ids, position_ids, cu_seqlens, self.max_seqlen, num_tokens=len(input_ids), logit_rows=label_rows
        )
        assert output.token_logits is not None
        return output.token_logits


class CastWeights(nn.Module):
    """Runs a module with its float32 parameters cast to half precision; gradients arrive in float32.

    The parameters stay what optimizer, checkpoints and gradient averaging know: float32. Cheaper than autocast,
    because activations between the products are in half precision too and nothing is cast more than once a step.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module = module
        self.dtype = dtype
        named = parameters_to_cast(module)
        self._groups = [named[start : start + CAST_TOGETHER] for start in range(0, len(named), CAST_TOGETHER)]

    def forward(self, *inputs: Tensor) -> Any:
        """Call the module."""
        cast: dict[str, Tensor] = {}
        for group in self._groups:
            names, parameters = zip(*group, strict=True)
            cast.update(zip(names, _cast_together(self.dtype, *parameters), strict=True))
        return torch.func.functional_call(self.module, cast, inputs)


class _CastTogether(torch.autograd.Function):
    """Casts tensors with one kernel, and their gradients back with another."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.dtype = tensors[0].dtype
        cast = _cast(tensors, dtype)
        frozen = [x for x, needed in zip(cast, ctx.needs_input_grad[1:], strict=True) if not needed]
        ctx.mark_non_differentiable(*frozen)
        return cast

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        cast = iter(_cast([grad for grad in grads if grad is not None], ctx.dtype))
        return None, *(None if grad is None else next(cast) for grad in grads)


_cast_together: Any = _CastTogether.apply


def _cast(tensors: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
    cast = tuple(torch.empty_like(x, dtype=dtype) for x in tensors)
    if cast:
        torch._foreach_copy_(cast, list(tensors))
    return cast


class StaticForwardStep:
    """A ``forward_step`` of :class:`~bionemo.llm.lightning.BionemoLightningModule` for batches of static shapes.

    It serves one model.

    Args:
        max_seqlen: Length that no sequence exceeds.
        weight_dtype: Dtype that the weights are cast to for the forward and backward pass; None leaves them.
        cuda_graphs: Capture forward and backward pass once for each shape and replay them: for small models, whose
            kernels are shorter than the time to launch them. A replay overwrites the gradients of the one before.
    """

    def __init__(self, *, max_seqlen: int, weight_dtype: torch.dtype | None = None, cuda_graphs: bool = False) -> None:
        self.max_seqlen = max_seqlen
        self.weight_dtype = weight_dtype
        self.cuda_graphs = cuda_graphs
        self._forwards: dict[tuple[int, ...], Any] = {}
        """One for each shape that was captured, and under () the one that is not."""

    def __call__(self, module: nn.Module, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Run a batch of static shapes; ``token_logits`` [M, V] and ``row_labels`` [M]."""
        inputs = tuple(batch[name] for name in ("input_ids", "position_ids", "cu_seqlens", "label_rows"))
        graphed = self.cuda_graphs and module.training and torch.is_grad_enabled()
        shape = tuple(len(x) for x in inputs) if graphed else ()
        if shape not in self._forwards:
            forward: Any = self._build(module)
            if graphed:
                sample = tuple(x.clone() for x in inputs)
                forward = torch.cuda.make_graphed_callables(forward, sample, allow_unused_input=True)
            self._forwards[shape] = forward
        return {"token_logits": self._forwards[shape](*inputs), "row_labels": batch["row_labels"]}

    def _build(self, module: nn.Module) -> nn.Module:
        assert isinstance(module, MegatronBioBertModel)
        forward = PackedLogits(module, self.max_seqlen)
        return forward if self.weight_dtype is None else CastWeights(forward, self.weight_dtype)
