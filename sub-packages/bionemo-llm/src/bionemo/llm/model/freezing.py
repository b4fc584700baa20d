# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a pretrained encoder that fine-tuning leaves as they are."""

from bionemo.core.errors import ConfigError
from bionemo.llm.model.biobert.model import MegatronBioBertModel


def freeze_layers(model: MegatronBioBertModel, num_layers: int) -> None:
    """Keep the embeddings and the first layers as they are.

    Raises:
        ConfigError: The model has fewer layers.
    """
    if num_layers > len(model.encoder.layers):
        raise ConfigError(f"--num-frozen-layers {num_layers}: the model has {len(model.encoder.layers)} layers.")
    assert model.embedding is not None
    model.embedding.requires_grad_(False)
    for layer in model.encoder.layers[:num_layers]:
        layer.requires_grad_(False)
