# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Torch's operations on lists of tensors where Megatron looks for those of Apex or TransformerEngine.

Without these packages Megatron's norm of the gradients waits for the device once for each parameter, its scaling
starts two kernels for each, and AdamW is not fused.
"""

from typing import Any

import torch
from megatron.core import utils
from megatron.core.optimizer import clip_grads
from megatron.core.optimizer import optimizer as megatron_optimizer
from torch import Tensor


def norm_of_list(
    chunk_size: int, overflow: Tensor, tensor_lists: list[list[Tensor]], *args: Any
) -> tuple[Tensor, None]:
    """Return the 2-norm of all tensors of the one list together, [1], left on the device.

    Args:
        chunk_size: Not used, as the following one; the names are those of the replaced function.
        overflow: Not used.
        tensor_lists: One list, not empty, of tensors of any shapes.
        args: Whether a norm of each tensor is wanted too: it is not.
    """
    (tensors,) = tensor_lists
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors))).reshape(1), None


def scale_list(chunk_size: int, overflow: Tensor, tensor_lists: list[list[Tensor]], scale: float) -> None:
    """Put the tensors of the first list times ``scale`` into those of the second, which may be the same ones."""
    sources, targets = tensor_lists
    if sources is not targets:
        torch._foreach_copy_(targets, sources)
    if scale != 1:
        torch._foreach_mul_(targets, scale)


def use_tensor_lists() -> None:
    """Take them where Megatron has fallen back to loops of its own."""
    for module in (clip_grads, megatron_optimizer):
        if module.multi_tensor_scale_impl is utils.local_multi_tensor_scale:
            module.multi_tensor_scale_impl = scale_list
    if clip_grads.l2_norm_impl is utils.local_multi_tensor_l2_norm:
        clip_grads.l2_norm_impl = norm_of_list


def fuse_adam(optimizer: Any) -> None:
    """Make torch's AdamW step in one kernel for many tensors.

    Args:
        optimizer: Megatron's, possibly a chain of several; others than torch's AdamW stay as they are.
    """
    for part in getattr(optimizer, "chained_optimizers", [optimizer]):
        if isinstance(part.optimizer, torch.optim.AdamW):
            for settings in (part.optimizer.defaults, *part.optimizer.param_groups):
                settings |= {"fused": True, "foreach": False}
