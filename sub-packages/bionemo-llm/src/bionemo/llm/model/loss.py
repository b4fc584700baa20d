# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Masked-language-model losses as sums and counts, so that a step divides once, whatever its layout.

Letters: B batch, S sequence, V vocabulary (with padding columns), M rows of a packed batch that go through the head.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypedDict

import torch
import torch.distributed
import torch.nn.functional as F

from bionemo.core.errors import DataError
from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


class PerTokenLossDict(TypedDict):
    """One micro-batch's loss as sum and count."""

    loss_sum_and_ub_size: Tensor
    """[2] float32: the summed loss in nats, and the number of tokens it sums over."""


class SameSizeLossDict(TypedDict):
    """One micro-batch's mean loss, for micro-batches that all count alike."""

    avg: Tensor
    """[1] float32."""


class DataParallelGroupLossAndIO(TypedDict):
    """A mean over data-parallel ranks, with what went in and came out of the model."""

    avg: Tensor
    """[1] float32."""
    batch: dict[str, Tensor]
    forward_out: dict[str, Tensor]


def masked_token_loss(
    token_logits: Tensor, labels: Tensor, real_vocab_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy over the masked positions of a packed batch.

    Args:
        token_logits: [M, V] any float dtype; V may be padded. They are not changed.
        labels: [M] int64 token ids, -100 on rows that do not count.
        real_vocab_size: Columns from here on are vocabulary padding: they take no probability and get no gradient.
            None means that all V columns are real.

    Returns:
        The loss sum in nats, a float32 scalar, and the number of masked positions, an int64 scalar. Both are on the
        logits' device. Without a masked position they are 0, with zero gradients.
    """
    logits_MV = token_logits if real_vocab_size is None else token_logits[:, :real_vocab_size]
    loss_sum = F.cross_entropy(logits_MV.float(), labels, ignore_index=MLM_LOSS_IGNORE_INDEX, reduction="sum")
    return loss_sum, (labels != MLM_LOSS_IGNORE_INDEX).sum()


def unreduced_token_loss_fn(
    logits: Tensor,
    labels: Tensor,
    cross_entropy_loss_fusion: bool = False,
    *,
    real_vocab_size: int | None = None,
) -> Tensor:
    """Cross-entropy of every token, over the vocabulary of all tensor-parallel ranks.

    Args:
        logits: [S, B, V] any float dtype, V being this rank's share when tensor parallel. They are not changed.
        labels: [B, S] int64 token ids; negative ones do not count.
        cross_entropy_loss_fusion: Use Megatron's compiled kernel when tensor parallel; it rounds the gradient to
            bfloat16. At tensor size one torch's own kernel is fused already and this makes no difference.
        real_vocab_size: Columns of the whole vocabulary from here on are padding; None means that all are real.

    Returns:
        [B, S] float32 in nats, 0 where the label is negative.
    """
    if _tensor_parallel_size() > 1:
        return _vocab_parallel_token_loss(logits, labels, cross_entropy_loss_fusion, real_vocab_size)
    logits_BVS = logits[..., :real_vocab_size].float().permute(1, 2, 0)
    labels_BS = labels.masked_fill(labels < 0, MLM_LOSS_IGNORE_INDEX)
    return F.cross_entropy(logits_BVS, labels_BS, ignore_index=MLM_LOSS_IGNORE_INDEX, reduction="none")


class BERTMLMLossWithReduction(torch.nn.Module):
    """The masked-language-model loss in the two halves that a micro-batched training engine wants.

    ``forward`` gives one micro-batch's sum and count, ``reduce`` the mean over micro-batches and data-parallel ranks.
    Every labeled token weighs the same, wherever it was computed. Works on any device, and without a process group.
    """

    def __init__(
        self, validation_step: bool = False, val_drop_last: bool = True, *, real_vocab_size: int | None = None
    ) -> None:
        """Keep the settings.

        Args:
            validation_step: Whether the batches are validation batches; recorded, the loss is the same.
            val_drop_last: Whether validation drops a smaller last batch; recorded, the mean per token needs no care.
            real_vocab_size: Vocabulary columns from here on are padding; None means that all are real.
        """
        super().__init__()
        self.validation_step = validation_step
        self.val_drop_last = val_drop_last
        self.real_vocab_size = real_vocab_size

    def forward(
        self, batch: Mapping[str, Tensor], forward_out: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, PerTokenLossDict]:
        """Sum the loss of one micro-batch.

        Args:
            batch: ``labels`` [B, S] int64, and ``loss_mask`` [B, S] bool (default: where the label is not negative).
            forward_out: ``token_logits`` [S, B, V].

        Returns:
            The loss sum (float32 scalar, differentiable), the number of tokens it sums over (int64 scalar), and both
            detached as one tensor for ``reduce``. The number is 0, not 1, when nothing is selected.

        Raises:
            DataError: There are no labels; it is also a ``ValueError``.
        """
        if "labels" not in batch:
            raise DataError(f"Labels not provided in the batch: it holds {sorted(batch)}, expected 'labels' [B, S].")
        labels_BS = batch["labels"]
        losses_BS = unreduced_token_loss_fn(
            forward_out["token_logits"], labels_BS, real_vocab_size=self.real_vocab_size
        )
        selected_BS = labels_BS >= 0
        if "loss_mask" in batch:
            selected_BS = selected_BS & batch["loss_mask"].bool()
        loss_sum = torch.where(selected_BS, losses_BS, 0.0).sum()
        num_valid = selected_BS.sum()
        sum_and_count = torch.stack([loss_sum.detach(), num_valid.to(loss_sum.dtype)])
        return loss_sum, num_valid, {"loss_sum_and_ub_size": sum_and_count}

    def reduce(self, losses_reduced_per_micro_batch: Sequence[PerTokenLossDict]) -> Tensor:
        """Mean loss per token over the micro-batches of all data- and context-parallel ranks.

        Args:
            losses_reduced_per_micro_batch: The third result of ``forward``, once per micro-batch. May be empty on some
                ranks; every rank of the group has to call.

        Returns:
            [1] float32 in nats, equal on all ranks of the group; 0 when no token was selected anywhere.
        """
        parts = [loss["loss_sum_and_ub_size"] for loss in losses_reduced_per_micro_batch]
        device = parts[0].device if parts else _collective_device()
        # A float32 counts tokens exactly only up to 16.7 million. Apple's GPUs have nothing wider.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        total = torch.zeros(2, dtype=dtype, device=device)
        for part in parts:
            total += part.to(dtype)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(total, group=_data_parallel_group())
        loss_sum, num_tokens = total
        mean: Tensor = loss_sum / num_tokens.clamp(min=1)
        return mean.float().reshape(1)


def _megatron_state() -> Any | None:
    """Megatron's parallel state when it is in use, else None; the plain path never imports it."""
    parallel_state = sys.modules.get("megatron.core.parallel_state")
    return parallel_state if parallel_state is not None and parallel_state.model_parallel_is_initialized() else None


def _tensor_parallel_size() -> int:
    state = _megatron_state()
    return 1 if state is None else state.get_tensor_model_parallel_world_size()


def _data_parallel_group() -> torch.distributed.ProcessGroup | None:
    """The ranks that hold different tokens; None stands for all of them."""
    state = _megatron_state()
    return None if state is None else state.get_data_parallel_group(with_context_parallel=True)


def _collective_device() -> torch.device:
    """Where a tensor has to be for the current process group."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        if torch.distributed.get_backend() == "nccl":
            return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _vocab_parallel_token_loss(
    logits: Tensor, labels: Tensor, cross_entropy_loss_fusion: bool, real_vocab_size: int | None
) -> Tensor:
    """``unreduced_token_loss_fn`` where each tensor-parallel rank holds a slice of the vocabulary."""
    from megatron.core import parallel_state
    from megatron.core.fusions.fused_cross_entropy import fused_vocab_parallel_cross_entropy
    from megatron.core.tensor_parallel import vocab_parallel_cross_entropy

    # Megatron's kernels work in place: always hand them a copy.
    logits_SBV = logits.to(torch.float32, copy=True)
    if real_vocab_size is not None:
        width = logits_SBV.shape[-1]
        first_id = width * parallel_state.get_tensor_model_parallel_rank()
        is_padding_V = torch.arange(first_id, first_id + width, device=logits.device) >= real_vocab_size
        logits_SBV = logits_SBV.masked_fill(is_padding_V, float("-inf"))
    labels_SB = labels.transpose(0, 1).contiguous()
    if cross_entropy_loss_fusion:
        group = parallel_state.get_tensor_model_parallel_group()
        losses_SB: Tensor = fused_vocab_parallel_cross_entropy(logits_SBV, labels_SB.clamp(min=0), group)
    else:
        losses_SB = vocab_parallel_cross_entropy(logits_SBV, labels_SB.clamp(min=0))
    return losses_SB.masked_fill(labels_SB < 0, 0.0).transpose(0, 1).contiguous()
