# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The state of Megatron's optimizers, whatever their kind, by parameter: what a checkpoint of any layout holds.

Plain float32, mixed precision with master weights, and the distributed optimizer, whose ranks each have a run of a
flattened parameter, keep their moments in different places. Here each is a tensor beside the parameter it belongs to.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from torch import Tensor


MOMENTS = ("exp_avg", "exp_avg_sq")
MASTER = "fp32_param"

Box = tuple[tuple[int, ...], tuple[int, ...]]


class OptimizerShard(NamedTuple):
    """What one rank's optimizer keeps of one parameter.

    Attributes:
        parameter: The model's, as large as this rank holds it.
        tensors: Moments, and the master weight where the parameter is in half precision; the optimizer's own memory.
        run: First and last element of the flattened parameter that they belong to; None: all.
        state: Torch's state of the parameter, for its ``step``.
    """

    parameter: Tensor
    tensors: dict[str, Tensor]
    run: tuple[int, int] | None
    state: dict[str, Any]


def optimizer_shards(optimizer: Any) -> Iterator[OptimizerShard]:
    """Go through this rank's optimizer state; moments that torch has not made yet are made, all zero.

    Args:
        optimizer: Megatron's, possibly a chain of several.
    """
    for part in getattr(optimizer, "chained_optimizers", [optimizer]):
        if isinstance(part, DistributedOptimizer):
            yield from _distributed_shards(part)
        elif part.optimizer is not None:
            for parameter in _parameters(part):
                main = getattr(parameter, "main_param", parameter)
                yield _shard(parameter, main, None, part.optimizer)


def _parameters(part: Any) -> Iterator[Tensor]:
    """Model parameters of an optimizer without sharding: those it steps, or those its master weights stand for."""
    if hasattr(part, "float16_groups"):
        for group in (*part.float16_groups, *part.fp32_from_fp32_groups):
            yield from group
        return
    for group in part.optimizer.param_groups:
        yield from group["params"]


def _distributed_shards(part: DistributedOptimizer) -> Iterator[OptimizerShard]:
    for ranges in part.gbuf_ranges:
        for buckets in ranges.values():
            for bucket in buckets:
                for parameter, places in bucket["param_map"].items():
                    group, order = part.model_param_group_index_map[parameter]
                    main = part.optimizer.param_groups[group]["params"][order]
                    run = (places["param"].start, places["param"].end)
                    yield _shard(parameter, main, run, part.optimizer)


def _shard(
    parameter: Tensor, main: Tensor, run: tuple[int, int] | None, optimizer: torch.optim.Optimizer
) -> OptimizerShard:
    state = optimizer.state[main]
    if not state:
        state["step"] = torch.zeros((), device=main.device)  # where a fused step looks for it
        for moment in MOMENTS:
            state[moment] = torch.zeros_like(main)
    tensors = {moment: state[moment] for moment in MOMENTS}
    if main.dtype != parameter.dtype:
        tensors[MASTER] = main.detach()
    return OptimizerShard(parameter, tensors, run, state)


def boxes_of_run(shape: tuple[int, ...], first: int, last: int) -> list[Box]:
    """Cut a run of a flattened tensor into boxes of the tensor, in order.

    Args:
        shape: Of the tensor.
        first: First element of the run.
        last: One past the last.

    Returns:
        Offsets and shapes; whole rows are kept together.
    """
    if first >= last:
        return []
    if len(shape) <= 1:
        return [((first,), (last - first,))] if shape else [((), ())]
    row = 1
    for size in shape[1:]:
        row *= size
    begin, end = first // row, (last - 1) // row
    boxes = []
    whole_begin = begin if first == begin * row else begin + 1
    whole_end = end + 1 if last == (end + 1) * row else end
    if begin < whole_begin:
        stop = min(last, (begin + 1) * row)
        boxes += _in_row(begin, boxes_of_run(shape[1:], first - begin * row, stop - begin * row))
    if whole_begin < whole_end:
        boxes.append(((whole_begin, *(0 for _ in shape[1:])), (whole_end - whole_begin, *shape[1:])))
    if whole_end <= end and end >= whole_begin:
        boxes += _in_row(end, boxes_of_run(shape[1:], 0, last - end * row))
    return boxes


def _in_row(idx: int, boxes: list[Box]) -> list[Box]:
    return [((idx, *offset), (1, *shape)) for offset, shape in boxes]
