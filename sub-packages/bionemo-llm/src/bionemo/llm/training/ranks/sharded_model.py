# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Fully sharded data parallelism (torch's FSDP2): each rank keeps some rows of every parameter, and no rank the model.

An encoder layer is gathered when it is computed, and its gradient is reduced to the rows of each rank. Outside the
forward and backward pass every parameter is a ``DTensor``, sharded along its first dimension.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors


Fill = Callable[[str, Tensor], None]
WeightSource = Callable[[Fill], None]
"""Calls its argument once with the name and the whole value of each parameter and buffer."""


class Rows(NamedTuple):
    """The rows of a tensor that one rank keeps."""

    start: int
    stop: int


def rows_of(num_rows: int, rank: int, num_ranks: int) -> Rows:
    """Return the rows of a tensor that a rank keeps, as torch divides them: equal runs, the last ones shorter.

    Args:
        num_rows: Size of the first dimension.
        rank: Place among the ranks that share one copy of the model.
        num_ranks: Their number.

    Example:
        >>> [rows_of(5, rank, 4) for rank in range(4)]  # the last rank keeps none
        [Rows(start=0, stop=2), Rows(start=2, stop=4), Rows(start=4, stop=5), Rows(start=5, stop=5)]
    """
    share = -(-num_rows // num_ranks)
    return Rows(min(rank * share, num_rows), min((rank + 1) * share, num_rows))


def build_mesh(device_type: str, world_size: int, shard_size: int | None) -> DeviceMesh:
    """Arrange all ranks: one row that shares a copy of the model, or several rows with a copy each (hybrid sharding).

    Args:
        device_type: "cpu" or "cuda".
        world_size: Ranks.
        shard_size: Ranks that share one copy, a divisor of all; None: all.
    """
    if shard_size in (None, world_size):
        return init_device_mesh(device_type, (world_size,), mesh_dim_names=("shard",))
    assert shard_size is not None
    return init_device_mesh(device_type, (world_size // shard_size, shard_size), mesh_dim_names=("replicate", "shard"))


def shard_model(
    model: nn.Module,
    mesh: DeviceMesh,
    *,
    compute_dtype: torch.dtype | None = None,
    cpu_offload: bool = False,
) -> None:
    """Shard a model in place: each encoder layer by itself, then the rest.

    Args:
        model: On the meta device or in memory, with ``units_of_sharding`` and ``forward_packed``; layers that are
            compiled or recomputed are so already.
        mesh: See ``build_mesh``.
        compute_dtype: Dtype of gathered parameters (mixed precision); gradients are reduced in float32. None: the
            parameters' own.
        cpu_offload: Keep parameters, gradients and optimizer on the host.
    """
    precision = MixedPrecisionPolicy(param_dtype=compute_dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    offload = CPUOffloadPolicy(pin_memory=torch.cuda.is_available()) if cpu_offload else OffloadPolicy()
    units: list[nn.Module] = model.units_of_sharding()  # type: ignore[operator]  # a method
    for unit in units:
        fully_shard(unit, mesh=mesh, mp_policy=precision, offload_policy=offload, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, mp_policy=precision, offload_policy=offload, reshard_after_forward=True)
    register_fsdp_forward_method(model, "forward_packed")


def materialize(model: nn.Module, fill_from: WeightSource, device: torch.device) -> None:
    """Allocate a sharded model's memory and fill it, one tensor at a time.

    Args:
        model: Sharded, on the meta device.
        fill_from: Gives the whole values.
        device: Where the parameters stay.

    Raises:
        CheckpointError: A parameter or buffer was not filled.
    """
    model.to_empty(device=device)
    own: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    filled: set[str] = set()

    def fill(name: str, values: Tensor) -> None:
        filled.add(name)
        target = own[name].detach()
        if isinstance(target, DTensor):
            rows = own_rows(target)
            target.to_local().copy_(values[rows.start : rows.stop])
        else:
            target.copy_(values)

    with torch.no_grad():
        fill_from(fill)
    if missing := sorted(own.keys() - filled):
        raise CheckpointError(f"the weights lack {len(missing)} tensors of the model, first {missing[0]}.")


def move_buffers(model: nn.Module, device: torch.device) -> None:
    """Move buffers to where a model is computed, which may not be where its parameters stay."""
    for module in model.modules():
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else buffer.to(device)


def fill_from_state(state: Mapping[str, Tensor]) -> WeightSource:
    """Make a source of a state dict, whose tensors are read one at a time where it is lazy."""
    lazy = LazyTensors.of(state)

    def fill_from(fill: Fill) -> None:
        for name in lazy:
            fill(name, lazy[name])

    return fill_from


def own_rows(tensor: DTensor) -> Rows:
    """Return the rows of a sharded tensor that this rank keeps."""
    dim = tensor.device_mesh.ndim - 1  # the other one counts copies
    return rows_of(tensor.shape[0], tensor.device_mesh.get_local_rank(dim), tensor.device_mesh.size(dim))


def shard_group(tensors: Iterable[Tensor]) -> dist.ProcessGroup | None:
    """Return the ranks among which tensors are sharded, None for ordinary tensors."""
    for tensor in tensors:
        if isinstance(tensor, DTensor):
            return tensor.device_mesh.get_group(tensor.device_mesh.ndim - 1)
        return None
    return None


def local(tensor: Tensor) -> Tensor:
    """Return the part of a tensor on this rank: its rows where it is sharded, else all of it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Gather a tensor where it is sharded; then every rank calls this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor  # type: ignore[no-any-return]


def like(whole: DTensor, rows: Tensor) -> DTensor:
    """Return a sharded tensor of another one's shape and place, from the rows on this rank."""
    return DTensor.from_local(
        rows, whole.device_mesh, whole.placements, run_check=False, shape=whole.shape, stride=whole.stride()
    )


def reshard(module: nn.Module) -> None:
    """Free gathered parameters; afterwards the module's parameters are the sharded ones."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def take_part(module: nn.Module) -> None:
    """Gather what other ranks gather in a forward pass, in the same order, and compute nothing.

    For a rank that has run out of data: without it the others would wait. Nothing happens to a module that is whole.
    """
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.unshard()
            part.reshard()
