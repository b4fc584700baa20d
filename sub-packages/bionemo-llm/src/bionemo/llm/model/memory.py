# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that a transformer encoder needs in inference, computed from its shape: weights and activations.

Letters: H hidden size, F feed-forward size, T tokens of a packed batch. Attention keeps no [T, T] matrix. What torch
itself takes is not counted: about 0.3 GB on a CPU, 0.5 GB of a GPU's memory.

Training: `bionemo.llm.training.ranks.memory`.
"""

from types import SimpleNamespace  # noqa: F401 for the examples
from typing import NamedTuple, Protocol


FLOAT32 = 4
LIVE_IN_INFERENCE = (6, 2)
"""Vectors of H and of F for each token that are alive at once in a forward pass without gradients."""


class EncoderShape(Protocol):
    """Sizes of a transformer encoder, such as those in `bionemo.esm2.model.sizes`."""

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
        activations: Of a packed batch.
    """

    weights: int
    activations: int

    @property
    def total(self) -> int:
        """All of it, in bytes."""
        return self.weights + self.activations


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
    return MemoryNeeds(FLOAT32 * shape.num_parameters, bytes_per_value * num_tokens * vectors)
