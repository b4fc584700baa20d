# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Numerical check of a kernel's dropout: its result and gradients against float32 under the very mask that it drew.

A kernel does not show its mask, but the mask depends on the generator alone, not on the values. So the kernel runs
again from the same seed with queries of zero, whose attention is uniform, and with values that are one-hot in the
key's place: what comes out as zero was dropped. A head dim of D shows D keys a run.

Letters: T tokens, N attention heads, D head dim, S tokens of one sequence.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from bionemo.llm.model.varlen.registration import AttendWithDropout


CHECKED_LENGTHS = (1, 2, 37, 200, 0, 65, 0)
CHECKED_DROPOUT = 0.2
MAX_RELATIVE_ERROR = 1e-2
SEED = 5


def check_dropout(
    plan: Callable[[Tensor, int, int], Tensor],
    attend: AttendWithDropout,
    num_heads: int,
    head_dim: int,
    dtype: torch.dtype,
    device: torch.device,
) -> str | None:
    """Compare result and gradients under dropout with float32; torch's generators are left as they were.

    Args:
        plan: Kernel metadata of a packed batch from its ``cu_seqlens``, N and D.
        attend: The kernel.
        num_heads: N.
        head_dim: D.
        dtype: Of the kernel's inputs.
        device: Where to run it.

    Returns:
        None, or what is wrong.
    """
    scale, longest = head_dim**-0.5, max(CHECKED_LENGTHS)
    generator = torch.Generator(device).manual_seed(0)
    shape = (sum(CHECKED_LENGTHS), num_heads, head_dim)
    with (
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        cu_seqlens = torch.tensor((0, *CHECKED_LENGTHS), device=device).cumsum(0, dtype=torch.int32)
        half = [torch.randn(shape, generator=generator, device=device).to(dtype).requires_grad_() for _ in range(3)]
        exact = [x.detach().float().requires_grad_() for x in half]
        weight = torch.randn(shape, generator=generator, device=device).to(dtype)

        def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            torch.manual_seed(SEED)
            return attend(query, key, value, metadata, longest, scale, CHECKED_DROPOUT)

        try:
            metadata = plan(cu_seqlens, num_heads, head_dim)
            ours = run(*half)
            results = (ours, *torch.autograd.grad(ours, half, weight))
            masks = recover_masks(run, cu_seqlens, half[0].detach())
        except Exception as error:  # noqa: BLE001 - a kernel may raise anything
            return f"fails with {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        query, key, value = exact
        expected = attention_under_masks(query, key, value, masks, cu_seqlens, scale)
        references = (expected, *torch.autograd.grad(expected, exact, weight.float()))
    kept = torch.cat([mask.flatten() for mask in masks]).mean().item()
    if abs(kept - (1 - CHECKED_DROPOUT)) > 0.02:
        return f"it keeps {kept:.3f} of the attention weights, not {1 - CHECKED_DROPOUT}"
    for what, result, reference in zip(("result", "dq", "dk", "dv"), results, references, strict=True):
        error_norm = ((result.detach().float() - reference.detach()).norm() / reference.detach().norm()).item()
        if not error_norm <= MAX_RELATIVE_ERROR:
            return f"its {what} is {error_norm:.1e} off float32 under the same mask"
    return None


def recover_masks(run: Callable[[Tensor, Tensor, Tensor], Tensor], cu_seqlens: Tensor, like: Tensor) -> list[Tensor]:
    """Return the mask of each sequence, [N, S, S] float32 with ones where a weight was kept.

    Args:
        run: The kernel, from one seed, as a function of query, key and value.
        cu_seqlens: [B + 1] int32.
        like: [T, N, D], for shape, dtype and device.
    """
    head_dim = like.shape[2]
    bounds = list(pairwise(cu_seqlens.tolist()))
    places = torch.cat([torch.arange(end - start, device=like.device) for start, end in bounds])
    zeros = torch.zeros_like(like)
    parts: list[list[Tensor]] = [[] for _ in bounds]
    for first in range(0, max(end - start for start, end in bounds), head_dim):
        shown = ((places >= first) & (places < first + head_dim)).nonzero().squeeze(1)
        value = torch.zeros_like(like)
        value[shown, :, places[shown] - first] = 1
        kept = run(zeros, zeros, value) != 0
        for part, (start, end) in zip(parts, bounds, strict=True):
            part.append(kept[start:end, :, : max(min(head_dim, end - start - first), 0)].transpose(0, 1).float())
    return [torch.cat(part, dim=-1) for part in parts]


def attention_under_masks(
    query: Tensor, key: Tensor, value: Tensor, masks: list[Tensor], cu_seqlens: Tensor, scale: float
) -> Tensor:
    """Return softmax attention within each sequence, [T, N, D], with given weights dropped and the rest scaled up."""
    outputs = []
    for mask, (start, end) in zip(masks, pairwise(cu_seqlens.tolist()), strict=True):
        q, k, v = (x[start:end].transpose(0, 1) for x in (query, key, value))
        weights = torch.softmax(scale * (q @ k.mT), dim=-1) * mask / (1 - CHECKED_DROPOUT)
        outputs.append((weights @ v).transpose(0, 1))
    return torch.cat(outputs)
