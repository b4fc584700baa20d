# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A Geneformer as a function from packed batches to the hidden states of one layer."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from bionemo.core.errors import ConfigError
from bionemo.geneformer.embedding.repeated_tokens import computed_once
from bionemo.llm.data.types import PackedBatch
from bionemo.llm.model.biobert.hidden_states import hidden_states_at, layer_index, with_static_shapes
from bionemo.llm.model.biobert.model import MegatronBioBertModel
from bionemo.llm.model.compiled import compile_layers


Encoder = Callable[[PackedBatch], Tensor]
"""A packed batch to the [T, H] hidden states of one layer."""

CPU_TOKENS_PER_BATCH, GPU_TOKENS_PER_BATCH = 4096, 32_768
AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def default_tokens_per_batch(device: str) -> int:
    """Tokens of a pack on a kind of device, which may be named as torch or as a trainer does."""
    return CPU_TOKENS_PER_BATCH if device == "cpu" else GPU_TOKENS_PER_BATCH


def build_encoder(
    model: MegatronBioBertModel,
    layer: int,
    *,
    precision: str = "32-true",
    has_repeats: bool = False,
    compile_backend: str | None = None,
) -> Encoder:
    """Build the function; neither the blocks behind the layer nor the head are computed.

    On a GPU packs get static shapes: a varlen kernel prepares itself once for each shape.

    Args:
        model: In evaluation mode, on the device where it shall run.
        layer: 0 is the last, -1 the one before.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        has_repeats: Packs hold the same token at the same position many times; what it gives alone is computed once.
        compile_backend: Compile each block with this backend of ``torch.compile`` and, in bf16-mixed, cast the
            model's weights to bfloat16 for good: for long jobs on a GPU. None: autocast, uncompiled.

    Raises:
        ConfigError: There is no such layer or precision.
    """
    if precision not in AUTOCAST:
        raise ConfigError(f"precision {precision}: not one of {', '.join(AUTOCAST)}.")
    num_blocks = layer_index(layer, model.bert_config.num_layers)
    device = next(model.parameters()).device
    dtype = AUTOCAST[precision]
    if compile_backend is not None:
        compile_layers(model.encoder.layers[:num_blocks], backend=compile_backend)
        if dtype == torch.bfloat16:
            model.to(dtype)
            dtype = None
    is_static = device.type == "cuda" or compile_backend is not None

    def encode(batch: PackedBatch) -> Tensor:
        if is_static:
            batch = with_static_shapes(batch, model.bert_config.seq_length)
        on_device = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}
        repeats = (
            computed_once(model, batch["input_ids"].to(device), batch["position_ids"].to(device))
            if has_repeats
            else nullcontext()
        )
        with torch.no_grad(), torch.autocast(device.type, dtype=dtype, enabled=dtype is not None), repeats:
            return hidden_states_at(model, on_device, num_blocks).float()

    return encode
