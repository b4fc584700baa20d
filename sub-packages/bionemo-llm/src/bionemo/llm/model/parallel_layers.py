# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Layers whose matrices are shared by tensor-parallel ranks, with the state-dict keys of the plain ones.

The bias stays inside the product, as in ``plain_layers``: both return ``(output, None)``.

Letters: M rows, H hidden, V this rank's share of the padded vocabulary.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core.tensor_parallel import (
    ColumnParallelLinear,
    RowParallelLinear,
    VocabParallelEmbedding,
    copy_to_tensor_model_parallel_region,
)
from torch import Tensor, nn

from bionemo.llm.model.placement import Placement


class _WithoutExtraState(nn.Module):
    """Takes away the empty ``_extra_state`` that Megatron adds for Transformer Engine's sake."""

    get_extra_state = nn.Module.get_extra_state
    set_extra_state = nn.Module.set_extra_state

    def forget_extra_state(self) -> None:
        """Remove the hook that expects it when a state dict is loaded."""
        self._load_state_dict_pre_hooks.clear()


class ColumnLinear(_WithoutExtraState, ColumnParallelLinear):  # type: ignore[misc]  # megatron has no types
    """A linear layer whose outputs are shared by the tensor-parallel ranks."""

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        config: Any,
        init_method: Callable[[Tensor], Any],
        bias: bool = True,
        tp_group: Any = None,
        **rest: Any,
    ) -> None:
        super().__init__(
            input_size,
            output_size,
            config=config,
            init_method=init_method,
            bias=bias,
            skip_bias_add=False,
            gather_output=False,
            tp_group=tp_group,
        )
        self.forget_extra_state()


class RowLinear(_WithoutExtraState, RowParallelLinear):  # type: ignore[misc]  # megatron has no types
    """A linear layer whose inputs are shared by the tensor-parallel ranks."""

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        config: Any,
        init_method: Callable[[Tensor], Any],
        bias: bool = True,
        tp_group: Any = None,
        **rest: Any,
    ) -> None:
        super().__init__(
            input_size,
            output_size,
            config=config,
            init_method=init_method,
            bias=bias,
            skip_bias_add=False,
            input_is_parallel=True,
            tp_group=tp_group,
        )
        self.forget_extra_state()

    def _forward_impl(self, input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        kwargs["tp_group"] = self.tp_group  # without it Megatron asks its globals, and says so with a warning
        product: Tensor = super()._forward_impl(input, weight, *args, **kwargs)
        return product


def vocab_parallel_embedding(placement: Placement, padded_vocab_size: int, hidden_size: int) -> nn.Module:
    """Build a word embedding whose rows are shared by the tensor-parallel ranks."""
    embedding: nn.Module = VocabParallelEmbedding(
        padded_vocab_size,
        hidden_size,
        init_method=placement.config.init_method,
        config=placement.config,
        tp_group=placement.groups.tp,
    )
    return embedding


class VocabParallelOutput(nn.Module):
    """Projection to this rank's share of the vocabulary, with the names of ``OutputLayer``.

    Args:
        placement: Where the model lies.
        padded_vocab_size: Of all ranks together.
        vocab_size: Columns from here on are padding: they take no probability and get no gradient.
        tied: The weight is the word embedding's, handed in; only the bias is here.
    """

    def __init__(self, placement: Placement, padded_vocab_size: int, vocab_size: int, *, tied: bool) -> None:
        super().__init__()
        group = placement.groups.tp
        self.group = group
        share = padded_vocab_size // group.size()
        self.num_real = min(max(vocab_size - group.rank() * share, 0), share)
        self.bias = nn.Parameter(torch.zeros(share))
        self.register_parameter("weight", None)
        if not tied:
            self.weight = nn.Parameter(torch.zeros(share, placement.config.hidden_size))
        for parameter in self.parameters():
            parameter.tensor_model_parallel = True  # type: ignore[attr-defined]  # read by Megatron
            parameter.partition_dim = 0  # type: ignore[attr-defined]
            parameter.partition_stride = 1  # type: ignore[attr-defined]

    def forward(self, states: Tensor, weight: Tensor) -> Tensor:
        """Project [M, H] to [M, V]."""
        states = copy_to_tensor_model_parallel_region(states, group=self.group)
        logits = F.linear(states, weight, self.bias)
        is_padding = torch.arange(logits.shape[-1], device=logits.device) >= self.num_real
        return logits.masked_fill(is_padding, torch.finfo(logits.dtype).min)
