# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What follows from a token and its position alone is computed once where a packed batch repeats the two.

Deleting the gene of rank r moves those behind it up by one: the perturbed lists of a cell of S genes, S² tokens, hold
at most 2 S different pairs of token and position. Their embedding, and query, key and value of the first block, are
those of the pairs.

Letters: T tokens of a packed batch, U different (token, position) pairs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bionemo.llm.model.biobert.model import MegatronBioBertModel


@contextmanager
def computed_once(model: MegatronBioBertModel, input_ids: Tensor, position_ids: Tensor) -> Iterator[None]:
    """Within it, ``model`` runs its embedding and the first block's projection on different pairs only.

    Args:
        model: In evaluation mode, whole on this rank, with at least one block.
        input_ids: [T] int64, of the packed batch that the model is about to run.
        position_ids: [T] int.
    """
    pairs_U, pair_of_T = torch.unique(position_ids * model.vocab_size + input_ids, return_inverse=True)
    places_T = torch.arange(len(pair_of_T), device=pair_of_T.device)
    place_of_U = torch.empty_like(pairs_U).scatter_(0, pair_of_T, places_T)  # one of those that a pair has

    def reduce(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        # Tokens and positions of the embedding, hidden states of the projection; anything else is for the whole pack.
        return (*(rows[place_of_U] for rows in args[:2]), *args[2:])

    def repeat(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return (output[0][pair_of_T], output[1]) if isinstance(output, tuple) else output[pair_of_T]

    assert model.embedding is not None
    modules: tuple[nn.Module, ...] = (model.embedding, model.encoder.layers[0].self_attention.linear_qkv)
    hooks = [module.register_forward_pre_hook(reduce) for module in modules]
    hooks += [module.register_forward_hook(repeat) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
