# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a head reads of the training data, from which its inputs are standardized.

Letters: N sequences or cells, H hidden.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn


@torch.no_grad()
def inputs_of(
    part: nn.Module,
    model: Any,
    batches: Iterable[Mapping[str, Any]],
    *,
    num_sequences: int,
    device: torch.device,
) -> Tensor:
    """Run batches through a model without dropout, and return what one of its parts reads.

    Args:
        part: The part; its first argument is [N, H].
        model: The model, which has ``forward_packed``; left in the mode that it was in.
        batches: Packed batches; of a sharded model every rank runs the same ones.
        num_sequences: As many sequences are run, and the rest of the last batch.
        device: Where the model is.

    Returns:
        [N, H] float32.
    """
    read: list[Tensor] = []
    num_seen, was_training = 0, model.training
    hook = part.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].float()))
    model.eval()
    for batch in batches:
        model.forward_packed(move_data_to_device(batch, device))
        num_seen += batch["num_sequences"]
        if num_seen >= num_sequences:
            break
    model.train(was_training)
    hook.remove()
    return torch.cat(read)
