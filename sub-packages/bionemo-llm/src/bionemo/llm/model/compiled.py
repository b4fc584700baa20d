# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Compiles the layers of an encoder, each by itself, so that they keep little for the backward pass."""

import os
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import fx, nn

from bionemo.core import BIONEMO_CACHE_DIR


GRAPHS_MAX_HIDDEN_SIZE = 480
"""Up to here the kernels of a layer are shorter than the time to launch them: ESM-2 8M and 35M, Geneformer V1-10M."""
LONGEST_ROW = 4096
"""Hidden size up to which a reduction keeps its row in registers; Inductor's own limit is 1,024."""
RECOMPILE_LIMIT = 64
"""Versions of a layer in one process, of every model, shape and use. Beyond torch's 8 it would run uncompiled."""
INDUCTOR_OPTIONS: dict[str, Any] = {"max_autotune_pointwise": True}


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
    import torch._dynamo.config

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILE_LIMIT)
    if backend == "inductor":
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", kernel_cache_dir())
    for layer in layers:
        layer.compile(backend=lean_backend(backend), fullgraph=fullgraph)


def kernel_cache_dir() -> str:
    """Return where compiled kernels are kept between runs: ``TORCHINDUCTOR_CACHE_DIR``, else BioNeMo's cache."""
    return os.environ.get("TORCHINDUCTOR_CACHE_DIR") or str(BIONEMO_CACHE_DIR / "inductor")


@cache
def lean_backend(compiler: str) -> Callable[[fx.GraphModule, list[torch.Tensor]], Callable[..., Any]]:
    """Return a compiler that may recompute activations instead of writing them to memory for the backward pass.

    There is one for each name: layers share what was compiled only if their compiler is the same object.
    """

    def compile_graph(graph: fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        import torch._functorch.config

        compile_with = compile_with_inductor if compiler == "inductor" else torch._dynamo.lookup_backend(compiler)
        with torch._functorch.config.patch(ban_recompute_materialized_backward=False):
            compiled: Callable[..., Any] = compile_with(graph, inputs)
        return compiled

    return compile_graph


def compile_with_inductor(graph: fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
    """Compile a layer with torch's Inductor, which reads a row of a LayerNorm once and tries several block sizes."""
    from torch._inductor.choices import InductorChoices
    from torch._inductor.compile_fx import compile_fx, compile_fx_inner
    from torch._inductor.runtime.hints import ReductionHint
    from torch._inductor.virtualized import V

    class WholeRows(InductorChoices):
        @staticmethod
        def should_use_persistent_reduction(features: Any, cooperative_reduction: bool) -> bool:
            is_row = features.get_reduction_hint() == ReductionHint.INNER and not cooperative_reduction
            if is_row and V.graph.sizevars.statically_known_leq(features.reduction_numel, LONGEST_ROW):
                return True
            return InductorChoices.should_use_persistent_reduction(features, cooperative_reduction)

    def compile_inner(*arguments: Any, **settings: Any) -> Any:
        with V.set_choices_handler(WholeRows()):
            return compile_fx_inner(*arguments, **settings)

    result: Any = compile_fx(graph, inputs, inner_compile=compile_inner, config_patches=INDUCTOR_OPTIONS)
    compiled: Callable[..., Any] = result
    return compiled
