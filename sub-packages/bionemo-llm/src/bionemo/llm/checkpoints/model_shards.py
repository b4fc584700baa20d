# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Split a whole model into the shards of a model-parallel run: the weights that each rank of a layout holds."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bionemo.core.progress import progress_bar
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors
from bionemo.llm.checkpoints.shards import SHARDS_DIR, Piece, write_index, write_pieces
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.training.parallel_config import ParallelConfig


LAYER_PREFIX = "encoder.layers."
VOCABULARY_TABLES = ("embedding.word_embeddings.weight", "output_layer.bias")
SPLIT_BY_ROWS = ("linear_qkv.weight", "linear_qkv.bias", "linear_fc1.weight", "linear_fc1.bias", *VOCABULARY_TABLES)
SPLIT_BY_COLUMNS = ("linear_proj.weight", "linear_fc2.weight")
FIRST_STAGE = ("embedding.", "rotary_pos_emb.")
"""Beginnings of names on the first pipeline stage; what belongs to no layer otherwise is on the last one."""


class Place(NamedTuple):
    """Who holds a tensor.

    Attributes:
        stage: Pipeline stage.
        axis: Axis that tensor-parallel ranks share; None: the first of them writes it whole.
    """

    stage: int
    axis: int | None


def write_model_shards(
    directory: Path, state: Mapping[str, Tensor], config: BioBertConfig, vocab_size: int, parallel: ParallelConfig
) -> None:
    """Write the folder ``shards`` of a checkpoint that is not visible yet, one rank in memory at a time.

    Args:
        directory: Of the checkpoint.
        state: State dict of the model on one device.
        config: Its architecture.
        vocab_size: Tokens, without padding.
        parallel: Sizes of tensor and pipeline parallelism.

    Raises:
        ParallelismError: A size does not divide what it splits.
        DataFileError: The disk is full.
    """
    assert config.ffn_hidden_size is not None
    parallel.check_model(
        num_layers=config.num_layers,
        num_attention_heads=config.num_attention_heads,
        ffn_hidden_size=config.ffn_hidden_size,
        pack_size=0,
    )
    ranks = parallel.pipeline_model_parallel_size * parallel.tensor_model_parallel_size
    padded_rows = config.padded_vocab_size(vocab_size, parallel.tensor_model_parallel_size)
    (directory / SHARDS_DIR).mkdir()
    for rank in progress_bar(range(ranks), ranks, unit="rank", description="writing shards"):
        pieces = list(_pieces(LazyTensors.of(state), config.num_layers, padded_rows, parallel, rank))
        write_pieces(directory / SHARDS_DIR, rank, pieces)
    write_index(directory / SHARDS_DIR, ranks)


def _pieces(
    state: LazyTensors, num_layers: int, padded_rows: int, parallel: ParallelConfig, rank: int
) -> Iterator[Piece]:
    num_shares = parallel.tensor_model_parallel_size
    stage, share = divmod(rank, num_shares)
    for name in state:
        place = place_of(name, num_layers, parallel.pipeline_model_parallel_size)
        if place.stage != stage or (place.axis is None and share):
            continue
        shape = state.shape(name)
        if name in VOCABULARY_TABLES:
            shape = (padded_rows, *shape[1:])
        offset = [0] * len(shape)
        own = state[name]
        if place.axis is not None:
            size = shape[place.axis] // num_shares
            first = offset[place.axis] = share * size
            own = _padded(own, shape[0]) if name in VOCABULARY_TABLES else own
            own = own.narrow(place.axis, first, size)
        yield Piece(name, shape, tuple(offset), own.contiguous())


def _padded(table: Tensor, num_rows: int) -> Tensor:
    missing = num_rows - len(table)
    return torch.cat([table, table.new_zeros(missing, *table.shape[1:])]) if missing else table


def place_of(name: str, num_layers: int, num_stages: int) -> Place:
    """Return which ranks hold a tensor.

    Example:
        >>> place_of("encoder.layers.5.mlp.linear_fc2.weight", num_layers=6, num_stages=2)
        Place(stage=1, axis=1)
    """
    if name.startswith(LAYER_PREFIX):
        stage = int(name.removeprefix(LAYER_PREFIX).partition(".")[0]) // math.ceil(num_layers / num_stages)
    else:
        stage = 0 if name.startswith(FIRST_STAGE) else num_stages - 1
    by_rows, by_columns = name.endswith(SPLIT_BY_ROWS), name.endswith(SPLIT_BY_COLUMNS)
    return Place(stage, 0 if by_rows else 1 if by_columns else None)
