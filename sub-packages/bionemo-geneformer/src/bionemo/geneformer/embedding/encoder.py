# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A Geneformer as a function from packed batches to the hidden states of one layer."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from bionemo.geneformer.embedding.repeated_tokens import computed_once
from bionemo.llm.data.types import PackedBatch
from bionemo.llm.model.biobert.hidden_states import layer_index
from bionemo.llm.model.biobert.inference import CPU_TOKENS_PER_BATCH, GPU_TOKENS_PER_BATCH, PackEncoder
from bionemo.llm.model.biobert.model import MegatronBioBertModel


Encoder = Callable[[PackedBatch], Tensor]
"""A packed batch to the [T, H] hidden states of one layer; the next call may overwrite them."""


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
    max_tokens: int | None = None,
) -> Encoder:
    """Build the function; neither the blocks behind the layer nor the head are computed.

    Args:
        model: In evaluation mode, on the device where it shall run.
        layer: 0 is the last, -1 the one before.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        has_repeats: Packs hold the same token at the same position many times; on a CPU what it gives alone is
            computed once.
        compile_backend: Compile each block with this backend of ``torch.compile`` and, in bf16-mixed, cast the
            model's weights to bfloat16 for good: for long jobs on a GPU. None: autocast, uncompiled.
        max_tokens: Tokens of a pack, larger ones may come; None: the default of the device.

    Raises:
        ConfigError: There is no such layer or precision.
    """
    num_blocks = layer_index(layer, model.bert_config.num_layers)
    device = next(model.parameters()).device
    encoder = PackEncoder(
        model,
        precision=precision,
        max_tokens=max_tokens or default_tokens_per_batch(device.type),
        compile_backend=compile_backend,
    )
    saves_repeats = has_repeats and not encoder.has_static_shapes

    def encode(batch: PackedBatch) -> Tensor:
        pack = encoder.place(batch, model.bert_config.seq_length)
        tokens = (pack.batch["input_ids"], pack.batch["position_ids"])
        with computed_once(model, *tokens) if saves_repeats else nullcontext(), torch.no_grad():
            return encoder.encode(pack, (num_blocks,))[0][num_blocks].float()

    return encode
