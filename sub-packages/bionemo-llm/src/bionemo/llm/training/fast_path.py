# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a run on a GPU does by itself to be fast: compile its layers, and replay a small model as CUDA graphs."""

import logging
from typing import NamedTuple

from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.compiled import GRAPHS_MAX_HIDDEN_SIZE, kernel_cache_dir
from bionemo.llm.training.resolve import ResolvedRun


logger = logging.getLogger(__name__)

COMPILATION_SECONDS = 30
"""Of 650M on an H200 with 16 CPU cores; a third of it where an earlier run has left its kernels."""
MIN_STEPS_TO_COMPILE = 1000
GRAPHS_MAX_TOKENS = 32_768
"""Larger packs keep a small model's kernels longer than their launches."""


class FastPath(NamedTuple):
    """How the layers of a run are computed.

    Attributes:
        compile: Compile each encoder layer.
        cuda_graphs: Replay forward and backward pass as CUDA graphs.
    """

    compile: bool
    cuda_graphs: bool

    @property
    def has_static_shapes(self) -> bool:
        """Whether batches need shapes that stay the same."""
        return self.compile or self.cuda_graphs


def choose_fast_path(resolved: ResolvedRun, shape: BioBertConfig, *, only_masked_tokens: bool = True) -> FastPath:
    """Decide on compilation and CUDA graphs as the flags say, else where they repay, and log it.

    Args:
        resolved: Settings of a run on the lightning engine.
        shape: The model.
        only_masked_tokens: Nothing else is learned; another objective needs more than the logits of a compiled step.
    """
    asked = resolved.asked
    is_possible = (
        only_masked_tokens
        and resolved.accelerator == "gpu"
        and resolved.precision == "bf16-mixed"
        and resolved.sequences_per_batch is None
        and (asked.recompute == "none" or not shape.has_dropout)  # masks drawn again are untested in one graph
    )
    is_long = resolved.max_steps >= MIN_STEPS_TO_COMPILE
    compiled = (is_possible and is_long) if asked.compile is None else asked.compile
    is_small = shape.hidden_size <= GRAPHS_MAX_HIDDEN_SIZE and resolved.max_tokens <= GRAPHS_MAX_TOKENS
    is_alone = resolved.num_ranks * asked.accumulate_grad_batches == 1
    graphs = is_possible and compiled and is_small and is_alone and not shape.has_dropout
    chosen = FastPath(compiled, graphs if asked.cuda_graphs is None else asked.cuda_graphs)
    if chosen.has_static_shapes:
        logger.info(
            "Compiling the encoder layers at the first step and the first validation: about %d s on an H200, less "
            "where an earlier run left its kernels in %s; --no-compile starts at once",
            COMPILATION_SECONDS, kernel_cache_dir(),
        )  # fmt: skip
    elif is_possible and asked.compile is None:
        logger.info(
            "Not compiling: %d steps do not repay the %d s it takes (from %d steps on); --compile compiles anyway",
            resolved.max_steps, COMPILATION_SECONDS, MIN_STEPS_TO_COMPILE,
        )  # fmt: skip
    if chosen.cuda_graphs:
        logger.info("Replaying forward and backward pass as CUDA graphs")
    return chosen
