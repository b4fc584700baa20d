# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Activation functions of the feed-forward network; GELU has a cheaper form for compiled bfloat16 layers on a GPU.

On a GPU torch's erf takes longer than reading and writing what it is applied to. In bfloat16 the normal distribution
function needs three digits: the logistic function of an odd polynomial has them for a third of the instructions.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


LOGIT_COEFFICIENTS = (1.5940521914, 0.0754284118, -0.0009573994, 8.4129e-06)
"""Of x, x^3, x^5 and x^7: log(P / (1 - P)) of the normal distribution function P, off by at most 0.002 up to 5.6."""


def gelu(x: Tensor) -> Tensor:
    """Return ``x * P(x)``, P the normal distribution function (Hendrycks and Gimpel 2016, the exact form)."""
    if x.is_cuda and x.dtype == torch.bfloat16 and torch.compiler.is_compiling():
        result: Tensor = BFloat16Gelu.apply(x)  # type: ignore[no-untyped-call]  # torch has no type for it
        return result
    return F.gelu(x)


def normal_cdf(x: Tensor) -> Tensor:
    """Return the normal distribution function of float32 values with a relative error of 0.2 %."""
    first, third, fifth, seventh = LOGIT_COEFFICIENTS
    square = x * x
    return torch.sigmoid(x * (first + square * (third + square * (fifth + square * seventh))))


class BFloat16Gelu(torch.autograd.Function):
    """GELU of bfloat16 values, computed in float32: result and gradient are within a bfloat16 step of the exact."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return GELU of ``x``, in its dtype."""
        ctx.save_for_backward(x)
        exact = x.float()
        return (exact * normal_cdf(exact)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Return the gradient, ``P(x) + x p(x)`` times that of the result; p is the normal density."""
        (x,) = ctx.saved_tensors
        exact = x.float()
        density = 0.3989422804 * torch.exp(-0.5 * exact * exact)
        gradient: Tensor = (grads[0].float() * (normal_cdf(exact) + exact * density)).to(x.dtype)
        return gradient
