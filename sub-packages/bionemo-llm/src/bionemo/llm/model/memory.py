# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that a transformer encoder needs, computed from its shape: weights, optimizer state, activations.

Letters: L layers, H hidden size, F feed-forward size, T tokens of a packed batch. Attention keeps no [T, T] matrix.
What torch itself takes is not counted: about 0.3 GB on a CPU, 0.5 GB of a GPU's memory.
"""

from types import SimpleNamespace  # noqa: F401 for the examples
from typing import NamedTuple, Protocol


FLOAT32 = 4
ADAMW_BYTES = 16
"""Bytes a parameter in training: weight, gradient and two moments, all float32."""
SAVED_IN_FLOAT32 = (32, 8)
"""Bytes that a layer keeps for the backward pass, for each token and unit of H and of F: inputs and outputs of both
norms, query, key, value, the result of attention; the feed-forward size before and after the activation function."""
SAVED_IN_BFLOAT16 = (20, 4)
"""The same in mixed precision, where the inputs of the norms stay float32."""
LIVE_IN_INFERENCE = (6, 2)
"""Vectors of H and of F for each token that are alive at once in a forward pass without gradients."""


class EncoderShape(Protocol):
    """Sizes of a transformer encoder, such as those in `bionemo.esm2.model.sizes`."""

    @property
    def num_layers(self) -> int: ...  # noqa: D102
    @property
    def hidden_size(self) -> int: ...  # noqa: D102
    @property
    def ffn_hidden_size(self) -> int: ...  # noqa: D102
    @property
    def num_parameters(self) -> int: ...  # noqa: D102


class MemoryNeeds(NamedTuple):
    """Bytes that a model needs.

    Attributes:
        weights: Of the parameters.
        state: Of gradients and optimizer; 0 in inference.
        activations: Of a packed batch.
    """

    weights: int
    state: int
    activations: int

    @property
    def total(self) -> int:
        """All of it, in bytes."""
        return self.weights + self.state + self.activations


def inference_memory(shape: EncoderShape, num_tokens: int, *, bytes_per_value: int = FLOAT32) -> MemoryNeeds:
    """Compute what a forward pass without gradients needs; weights are kept in float32.

    Args:
        shape: Of the model.
        num_tokens: T.
        bytes_per_value: Of an activation: 4 in float32, 2 in bfloat16.

    >>> esm2_650m = SimpleNamespace(num_layers=33, hidden_size=1280, ffn_hidden_size=5120, num_parameters=651_043_254)
    >>> f"{inference_memory(esm2_650m, 4096).total / 1e9:.1f} GB"
    '2.9 GB'
    """
    of_hidden, of_ffn = LIVE_IN_INFERENCE
    vectors = of_hidden * shape.hidden_size + of_ffn * shape.ffn_hidden_size
    return MemoryNeeds(FLOAT32 * shape.num_parameters, 0, bytes_per_value * num_tokens * vectors)


def training_memory(shape: EncoderShape, num_tokens: int, *, mixed_precision: bool = True) -> MemoryNeeds:
    """Compute what training all parameters with AdamW needs; without recomputation, layers not compiled.

    Args:
        shape: Of the model.
        num_tokens: T.
        mixed_precision: bfloat16 activations beside float32 weights; else all float32.

    >>> esm2_650m = SimpleNamespace(num_layers=33, hidden_size=1280, ffn_hidden_size=5120, num_parameters=651_043_254)
    >>> f"{training_memory(esm2_650m, 32_432).total / 2**30:.1f} GiB"
    '55.6 GiB'
    """
    of_hidden, of_ffn = SAVED_IN_BFLOAT16 if mixed_precision else SAVED_IN_FLOAT32
    weights = FLOAT32 * shape.num_parameters
    saved = num_tokens * shape.num_layers * (of_hidden * shape.hidden_size + of_ffn * shape.ffn_hidden_size)
    return MemoryNeeds(weights, ADAMW_BYTES * shape.num_parameters - weights, saved)
