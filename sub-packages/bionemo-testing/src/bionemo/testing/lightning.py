# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Small helpers around Lightning runs: a seeded microbatch, and step numbers from a log."""

import re
from typing import Any


def get_random_microbatch(
    microbatch_size: int,
    max_sequence_length: int,
    vocab_size: int,
    seed: int,
    mask_index: int = -100,
    device: Any = "cpu",
) -> dict[str, dict[str, Any]]:
    """Draw labels, a loss mask and logits, for testing losses and metrics. The values depend on the arguments only.

    Returns:
        ``batch``: ``labels`` [b, s] int64 (``mask_index`` where not in the loss) and ``loss_mask`` [b, s] bool;
        ``forward_out``: ``token_logits`` [s, b, v] float32.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    shape = (microbatch_size, max_sequence_length)
    loss_mask = torch.rand(shape, generator=generator) < 0.5
    labels = torch.randint(0, vocab_size, shape, generator=generator).masked_fill(~loss_mask, mask_index)
    logits = torch.randn((max_sequence_length, microbatch_size, vocab_size), generator=generator)
    return {
        "batch": {"labels": labels.to(device), "loss_mask": loss_mask.to(device)},
        "forward_out": {"token_logits": logits.to(device)},
    }


def extract_global_steps_from_log(log_string: str) -> list[int]:
    """The numbers of all ``| global_step: N |`` fields, in order."""
    return [int(number) for number in re.findall(r"\| global_step: (\d+) \|", log_string)]
