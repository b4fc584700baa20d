# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The choice of a variable-length attention kernel: the fastest that is installed and computes the right thing.

Measured speeds decide the order (forward and backward of one layer, 20 heads, 32 thousand tokens of natural lengths on
an H200): FlashAttention 4 is fastest from a head dim of 32 on, cuDNN below that, torch's own needs no package.

Letters: T tokens, N attention heads, D head dim.
"""

import logging
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor

from bionemo.core.errors import ConfigError, MissingDependencyError
from bionemo.llm.model.varlen import cudnn_flash, fa4, torch_flash
from bionemo.llm.model.varlen.dropout_check import check_dropout
from bionemo.llm.model.varlen.reference import SequenceTable, sequence_by_sequence_attention
from bionemo.llm.model.varlen.registration import Attend, AttendWithDropout


logger = logging.getLogger(__name__)

Plan = Callable[[Tensor, int, int], Tensor]


class VarlenKernel(NamedTuple):
    """A kernel behind the one signature of :mod:`bionemo.llm.model.varlen.torch_flash`."""

    module: str
    """Import name of what it needs."""
    extra: str
    plan: Plan
    attend: Attend
    attend_with_dropout: AttendWithDropout | None = None
    """The same with a dropout of attention weights, where the kernel has one."""


KERNELS = {
    "fa4": VarlenKernel("flash_attn.cute", "bionemo-llm[fa4]", torch_flash.plan, fa4.attend),
    "cudnn": VarlenKernel("cudnn", "bionemo-llm[cudnn]", cudnn_flash.plan, cudnn_flash.attend),
    "torch": VarlenKernel("torch", "torch", torch_flash.plan, torch_flash.attend, torch_flash.attend_with_dropout),
}
"""Fastest first."""

FA4_MIN_HEAD_DIM = 32
MAX_RELATIVE_ERROR = 1e-2
"""Of the result and of each gradient; half precision alone makes 2 to 3 thousandths."""

CHECKED_LENGTHS = (1, 2, 37, 300, 0, 1024, 0)
"""The shortest sequences, the longest one of ESM-2, and empty slots in between and at the end."""
CHECKED_BOUND = 2048
"""Longest sequence that the kernel is told of: more than there is, as in training."""
LAYOUTS = ("separate", "fused")
"""Query, key and value as tensors of their own (after rotary positions), or as views of the fused projection."""


def is_installed(name: str) -> bool:
    """Whether the package of a kernel is there."""
    try:
        return find_spec(KERNELS[name].module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


@lru_cache
def choose_kernel(wanted: str, num_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> str | None:
    """Choose a kernel, once for each shape and device.

    Args:
        wanted: A key of ``KERNELS``, or "auto".
        num_heads: N.
        head_dim: D.
        dtype: float16 or bfloat16.
        device: A GPU.

    Returns:
        A key of ``KERNELS``, or None: "auto" found none that passes the check.

    Raises:
        MissingDependencyError: The wanted kernel's package is not installed.
        ConfigError: The wanted kernel fails or computes something else.
    """
    if wanted != "auto":
        if not is_installed(wanted):
            raise MissingDependencyError(
                f'--attention {wanted}: not installed. Run: pip install "{KERNELS[wanted].extra}"'
            )
        problem = check_kernel(KERNELS[wanted], num_heads, head_dim, dtype, device)
        if problem is not None:
            raise ConfigError(f"--attention {wanted}: {problem} at a head dim of {head_dim}. Use --attention auto.")
        return wanted
    for name, kernel in KERNELS.items():
        if not is_installed(name) or (name == "fa4" and head_dim < FA4_MIN_HEAD_DIM):
            continue
        problem = check_kernel(kernel, num_heads, head_dim, dtype, device)
        if problem is None:
            logger.info("attention kernel for %d heads of %d channels: %s", num_heads, head_dim, name)
            return name
        logger.warning("attention kernel %s is passed over: %s at a head dim of %d", name, problem, head_dim)
    return None


@lru_cache
def choose_kernel_with_dropout(num_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> str | None:
    """Choose a kernel that drops attention weights, once for each shape and device; arguments as in `choose_kernel`.

    Returns:
        A key of ``KERNELS``, or None: no kernel here has a dropout that passes the check.
    """
    for name, kernel in KERNELS.items():
        if kernel.attend_with_dropout is None or not is_installed(name):
            continue
        problem = check_dropout(kernel.plan, kernel.attend_with_dropout, num_heads, head_dim, dtype, device)
        if problem is None:
            logger.info("attention kernel with dropout for %d heads of %d channels: %s", num_heads, head_dim, name)
            return name
        logger.warning("dropout of attention kernel %s is not used: %s at a head dim of %d", name, problem, head_dim)
    return None


def check_kernel(
    kernel: VarlenKernel, num_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device
) -> str | None:
    """Compare a kernel's result and its three gradients with float32, in each layout that models hand over.

    Args:
        kernel: What to check.
        num_heads: N.
        head_dim: D.
        dtype: Of the kernel's inputs.
        device: Where to run it.

    Returns:
        None, or what is wrong.
    """
    for layout in LAYOUTS:
        problem = _check_layout(kernel, layout, num_heads, head_dim, dtype, device)
        if problem is not None:
            return problem
    return None


def _check_layout(
    kernel: VarlenKernel, layout: str, num_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device
) -> str | None:
    num_tokens, scale = sum(CHECKED_LENGTHS), head_dim**-0.5
    generator = torch.Generator(device).manual_seed(0)

    def random(width: int) -> Tensor:
        return torch.randn(num_tokens, num_heads, width, generator=generator, device=device).to(dtype)

    lengths = tuple(length for length in CHECKED_LENGTHS if length)
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        views = random(3 * head_dim).split(head_dim, dim=-1)
        half = [(view if layout == "fused" else view.contiguous()).requires_grad_() for view in views]
        exact = [x.detach().float().requires_grad_() for x in half]
        weight = random(head_dim)
        cu_seqlens = torch.tensor((0, *CHECKED_LENGTHS), device=device).cumsum(0, dtype=torch.int32)
        table = SequenceTable(cu_seqlens, max(lengths), num_tokens, lengths, None, None)
        try:
            plan = kernel.plan(cu_seqlens, num_heads, head_dim)
            query, key, value = half
            ours = kernel.attend(query, key, value, plan, CHECKED_BOUND, scale)
            results = (ours, *torch.autograd.grad(ours, half, weight))
        except Exception as error:  # noqa: BLE001 - a third party's kernel may raise anything
            return f"fails with {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        query, key, value = exact
        expected = sequence_by_sequence_attention(query, key, value, table, scale)
        references = (expected, *torch.autograd.grad(expected, exact, weight.float()))
    for what, result, reference in zip(("result", "dq", "dk", "dv"), results, references, strict=True):
        error_norm = ((result.detach().float() - reference.detach()).norm() / reference.detach().norm()).item()
        if not error_norm <= MAX_RELATIVE_ERROR:
            return f"its {what} is {error_norm:.1e} off float32 ({layout} query, key and value)"
    return None
