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
    set_tensor_model_parallel_attributes,
)
from torch import Tensor, nn

from bionemo.llm.model.device_placement import Placement


class _Shared(nn.Module):
    """What both linears need beside Megatron's layer."""

    # Megatron adds an empty extra state for Transformer Engine's sake.
    get_extra_state = nn.Module.get_extra_state
    set_extra_state = nn.Module.set_extra_state

    def mark_shared(self, dim: int) -> None:
        """Mark the weight as shared along a dimension, and expect no extra state when a state dict is loaded.

        Megatron marks weights where it initializes them, which is not done here; unmarked ones count as copies, and
        the gradient's norm would leave out all ranks but the first.
        """
        set_tensor_model_parallel_attributes(self.weight, True, dim, 1)
        self._load_state_dict_pre_hooks.clear()


class ColumnLinear(_Shared, ColumnParallelLinear):  # type: ignore[misc]  # megatron has no types
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
        self.mark_shared(dim=0)


class RowLinear(_Shared, RowParallelLinear):  # type: ignore[misc]  # megatron has no types
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
        self.mark_shared(dim=1)

    def _forward_impl(self, input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        kwargs["tp_group"] = self.tp_group  # without it Megatron asks its globals, and says so with a warning
        product: Tensor = super()._forward_impl(input, weight, *args, **kwargs)
        return product


def vocab_parallel_embedding(placement: Placement, padded_vocab_size: int, hidden_size: int) -> nn.Module:
    """Build a word embedding whose rows are shared by the tensor-parallel ranks."""
    embedding = VocabParallelEmbedding(
        padded_vocab_size,
        hidden_size,
        init_method=placement.config.init_method,
        config=placement.config,
        tp_group=placement.groups.tp,
    )
    set_tensor_model_parallel_attributes(embedding.weight, True, 0, 1)
    module: nn.Module = embedding
    return module


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
            set_tensor_model_parallel_attributes(parameter, True, 0, 1)

    def forward(self, states: Tensor, weight: Tensor) -> Tensor:
        """Project [M, H] to [M, V]."""
        states = copy_to_tensor_model_parallel_region(states, group=self.group)
        logits = F.linear(states, weight, self.bias)
        is_padding = torch.arange(logits.shape[-1], device=logits.device) >= self.num_real
        return logits.masked_fill(is_padding, torch.finfo(logits.dtype).min)
