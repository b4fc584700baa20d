# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Rotary position angles, kept in float32 whatever the model's precision (Su et al. 2021)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class RotaryEmbedding(nn.Module):
    """Inverse frequencies of rotary positions and the factors of given positions.

    The frequencies are a persisted buffer: published ESM-2 files hold values rounded to float16, which are to be
    loaded, not derived anew. A cast of the model to bfloat16 leaves them untouched.

    Args:
        head_dim: Hidden size of one attention head; even.
        base: Longest wavelength divided by 2 pi.
    """

    inv_freq: Tensor

    def __init__(self, head_dim: int, base: float = 10_000.0) -> None:
        super().__init__()
        exponents = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
        self.register_buffer("inv_freq", 1.0 / (base**exponents))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RotaryEmbedding":
        exact = self.inv_freq
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch has no type for it
        device = self.inv_freq.device
        self.inv_freq = torch.empty_like(exact, device=device) if exact.is_meta else exact.to(device)
        return self

    def forward(self, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors of every token.

        Args:
            position_ids: [T] int, counted from 0 in each sequence.

        Returns:
            cos and sin, each [T, 1, head_dim / 2] float32.
        """
        with torch.autocast(position_ids.device.type, enabled=False):
            angles = position_ids.float()[:, None, None] * self.inv_freq
        return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the two halves of each head by its token's angles (half-split form).

    Args:
        x: [T, heads, head_dim] queries or keys.
        cos: [T, 1, head_dim / 2] float32.
        sin: As ``cos``.

    Returns:
        [T, heads, head_dim] of the dtype of ``x``, computed in float32.
    """
    if not x.is_cuda and x.dtype == torch.float32:
        rotated: Tensor = _RotateOnHost.apply(x, cos, sin)  # type: ignore[no-untyped-call]  # torch has no type for it
        return rotated
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


class _RotateOnHost(torch.autograd.Function):
    """The same in four passes over memory and without temporaries: nothing is compiled on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotate_into_new(x, cos, sin, sign=1.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _rotate_into_new(grads[0], *ctx.saved_tensors, sign=-1.0), None, None


def _rotate_into_new(x: Tensor, cos: Tensor, sin: Tensor, *, sign: float) -> Tensor:
    rotated = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    first, second = x.chunk(2, dim=-1)
    torch.mul(first, cos, out=rotated[..., : first.shape[-1]]).addcmul_(second, sin, value=-sign)
    torch.mul(second, cos, out=rotated[..., first.shape[-1] :]).addcmul_(first, sin, value=sign)
    return rotated
