# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Compiles the layers of an encoder, each by itself, so that they keep little for the backward pass."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import fx, nn


def compile_layers(layers: Iterable[nn.Module], *, backend: str = "inductor", fullgraph: bool = False) -> None:
    """Compile layers at their first call; forward results and gradients stay what they are.

    A layer keeps what its matrix products and its attention made (20 bytes a token and unit of the hidden size in
    half precision) and computes norms and activation function again in the backward pass: 32 without that. The extra
    work is element-wise.

    Args:
        layers: Megatron's transformer layers; batches of other shapes compile again.
        backend: Name of a compiler that torch knows.
        fullgraph: Fail where a layer is more than one graph.
    """
    for layer in layers:
        layer.compile(backend=lean_backend(backend), fullgraph=fullgraph)


@cache
def lean_backend(compiler: str) -> Callable[[fx.GraphModule, list[torch.Tensor]], Callable[..., Any]]:
    """Return a compiler that may recompute activations instead of writing them to memory for the backward pass.

    There is one for each name: layers share what was compiled only if their compiler is the same object.
    """

    def compile_graph(graph: fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        import torch._functorch.config

        with torch._functorch.config.patch(ban_recompute_materialized_backward=False):
            compiled: Callable[..., Any] = torch._dynamo.lookup_backend(compiler)(graph, inputs)
        return compiled

    return compile_graph
