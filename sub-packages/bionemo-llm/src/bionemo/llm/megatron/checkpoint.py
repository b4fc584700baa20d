# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a run on many ranks: each writes its part, any other layout can read them.

A checkpoint folder holds ``config.json`` and tokenizer files as everywhere, ``training_state/state.json`` with the
progress and the schedule, and ``shards/`` (``bionemo.llm.checkpoints.shards``) with weights and optimizer, every
tensor under its name in the whole model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.dist_checkpointing.mapping import ShardedTensor

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.hf_directory import HuggingFaceLayout
from bionemo.llm.checkpoints.layouts import layout_name
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors
from bionemo.llm.checkpoints.model_source import load_model
from bionemo.llm.checkpoints.shards import SHARDS_DIR, Piece, ShardReader, overlap, write_index, write_pieces
from bionemo.llm.checkpoints.training_state import TrainingState
from bionemo.llm.megatron.module import MegatronLightningModule
from bionemo.llm.megatron.optimizer_state import MASTER, OptimizerShard, boxes_of_run, optimizer_shards
from bionemo.llm.model.sharding import METADATA
from bionemo.llm.training.ranks.run_files import RunFiles


class MegatronParts:
    """See ``CheckpointParts``: shards of weights and optimizer, from the ranks that have them.

    Args:
        files: What is beside the tensors.
    """

    def __init__(self, files: RunFiles) -> None:
        self.files = files

    def write_rest(self, folder: Path, module: pl.LightningModule, metrics: Mapping[str, float], name: str) -> None:
        """Write configuration, tokenizer, model card, and the state of the run."""
        assert isinstance(module, MegatronLightningModule)
        (folder / SHARDS_DIR).mkdir()
        self.files.write(
            folder,
            module,
            module.bert_config,
            metrics,
            name,
            group_keys=("lr", "betas", "eps", "weight_decay"),
            engine="megatron",
            layout=layout_name(self.files.layout),
            world_size=dist.get_world_size(),
        )

    def take(self, module: pl.LightningModule, *, copy: bool) -> Callable[[Path], None]:
        """Return what writes this rank's shards."""
        assert isinstance(module, MegatronLightningModule)
        strategy: Any = module.trainer.strategy  # NeMo's
        if module.parallel.overlap_param_gather:
            strategy.megatron_parallel.force_param_sync()
        rank, pieces = dist.get_rank(), own_pieces(module, copy=copy)
        return lambda folder: write_pieces(folder / SHARDS_DIR, rank, pieces)

    def complete(self, folder: Path, world_size: int) -> None:
        """Write the index of all shards."""
        write_index(folder / SHARDS_DIR, world_size)


def model_parts(module: MegatronLightningModule) -> list[ShardedTensor]:
    """Describe this rank's part of every weight, in an order that is the same on ranks with the same parts."""
    parts = [part for piece in module.pieces for part in piece.sharded_state_dict(metadata=METADATA).values()]
    return sorted(parts, key=lambda part: (part.key, part.global_offset))


def own_pieces(module: MegatronLightningModule, *, copy: bool) -> list[Piece]:
    """Return what this rank writes: the ranks that hold the same tensors share them out, by size.

    Args:
        module: What is saved.
        copy: Copy to the host, so that training may continue.
    """
    rank = int(parallel_state.get_data_parallel_rank(with_context_parallel=True))
    loads = [0] * parallel_state.get_data_parallel_world_size(with_context_parallel=True)

    def shared_out(part: ShardedTensor, size_bytes: int) -> bool:
        writer = loads.index(min(loads))
        loads[writer] += size_bytes
        return writer == rank

    pieces = []
    shards = {id(shard.parameter): shard for shard in optimizer_shards(module.mcore_optimizer)}
    for part in model_parts(module):
        *copies, _ = part.replica_id  # the last one counts data-parallel ranks, who all have it
        if any(copies):
            continue
        shape, offset = tuple(part.global_shape), tuple(part.global_offset)
        weight = part.data.detach()
        if shared_out(part, weight.nbytes):
            pieces.append(Piece(part.key, shape, offset, weight))
        shard = shards.get(id(part.data))
        if shard is None:
            continue
        if shard.run is not None or shared_out(part, 2 * weight.nbytes):
            pieces += [
                Piece(f"optimizer.state.{moment}.{part.key}", shape, place, tensor)
                for moment, whole in shard.tensors.items()
                for place, tensor in _boxes(part, shard, whole)
            ]
    if copy:
        pieces = [piece._replace(tensor=piece.tensor.to("cpu", copy=True)) for piece in pieces]
    return pieces


def _boxes(
    part: ShardedTensor, shard: OptimizerShard, tensor: torch.Tensor
) -> Iterator[tuple[tuple[int, ...], torch.Tensor]]:
    """Return a rank's run of a moment as boxes of the whole tensor: where each begins, and the box."""
    if shard.run is None:
        yield tuple(part.global_offset), tensor
        return
    first = 0
    for offset, shape in boxes_of_run(tuple(part.local_shape), *shard.run):
        place = tuple(a + b for a, b in zip(part.global_offset, offset, strict=True))
        box = tensor.view(-1)[first : first + torch.Size(shape).numel()].view(shape)
        first += box.numel()
        yield place, box


class WholeTensors:
    """Reads boxes of whole tensors, as ``ShardReader`` does of shards: checkpoints of the lightning engine.

    Args:
        directory: The checkpoint, to name it in errors.
        state: Weights, and the optimizer's moments under ``optimizer.state.<moment>.<parameter>``.
    """

    def __init__(self, directory: Path, state: LazyTensors) -> None:
        self.directory, self.state = directory, state

    def has(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return name in self.state

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a whole tensor.

        Raises:
            CheckpointError: There is no such tensor.
        """
        if name not in self.state:
            raise CheckpointError(f"{self.directory}: lacks {name}. The checkpoint is of another model or optimizer.")
        return self.state.shape(name)

    def read(self, name: str, offset: Sequence[int], shape: Sequence[int]) -> torch.Tensor:
        """Read a box; what reaches beyond the tensor stays zero."""
        box = (tuple(offset), tuple(shape))
        whole = (tuple(0 for _ in offset), self.shape(name))
        common = overlap(box, whole)
        if common is None:
            return torch.zeros(box[1])
        into, source = common
        rows = source[0] if source else slice(None)
        part = self.state.rows(name, rows.start, rows.stop) if source else self.state[name]
        result = torch.zeros(box[1], dtype=part.dtype)
        result[into] = part[(slice(None), *source[1:])] if source else part
        return result


def open_any_layout(checkpoint: Path, state: TrainingState, layout: HuggingFaceLayout[Any]) -> Any:
    """Open weights and moments of a checkpoint of either training engine, to read boxes of them."""
    if (checkpoint / SHARDS_DIR).is_dir():
        return ShardReader(checkpoint / SHARDS_DIR)
    weights, moments = LazyTensors.of(load_model(checkpoint, layout).state), LazyTensors.of(state.optimizer)
    named = {f"optimizer.state.{name}": tensor for name, tensor in moments.entries.items()}
    return WholeTensors(checkpoint, LazyTensors({**weights.entries, **named}))


def load_shards(
    module: MegatronLightningModule, checkpoint: Path, state: TrainingState, layout: HuggingFaceLayout[Any]
) -> None:
    """Put weights, optimizer and schedule where a checkpoint of any layout had them.

    Args:
        module: The finished training engine, in ``on_fit_start``.
        checkpoint: A checkpoint folder of either training engine.
        state: What its ``state.json`` says.
        layout: Names of the model family.

    Raises:
        CheckpointError: A shard is missing or truncated, or a tensor is of another model.
    """
    reader = open_any_layout(checkpoint, state, layout)
    parts = {id(part.data): part for part in model_parts(module)}
    with torch.no_grad():
        for part in parts.values():
            _check_shape(reader, part)
            part.data.copy_(reader.read(_most_exact(reader, part.key), part.global_offset, part.local_shape))
        for shard in optimizer_shards(module.mcore_optimizer):
            _load_moments(reader, parts[id(shard.parameter)], shard)
            shard.state["step"].fill_(state.progress.step)
    optimizer: Any = module.optimizers(use_pl_optimizer=False)
    schedule: Any = module.lr_schedulers()
    schedule.load_state_dict(state.schedule)
    for group, lr in zip(optimizer.param_groups, schedule.get_last_lr(), strict=True):
        group["lr"] = lr


def _check_shape(reader: Any, part: ShardedTensor) -> None:
    stored, expected = reader.shape(part.key), tuple(part.global_shape)
    if stored != expected and not part.allow_shape_mismatch:
        raise CheckpointError(
            f"{reader.directory}: {part.key} has shape {stored}, the model has {expected}. "
            "The checkpoint is of another model size."
        )


def _most_exact(reader: Any, key: str) -> str:
    """Name of a weight's master copy where the checkpoint has one, else of the weight."""
    master = f"optimizer.state.{MASTER}.{key}"
    return master if reader.has(master) else key


def _load_moments(reader: Any, part: ShardedTensor, shard: OptimizerShard) -> None:
    for moment, own in shard.tensors.items():
        name = _most_exact(reader, part.key) if moment == MASTER else f"optimizer.state.{moment}.{part.key}"
        if shard.run is None:
            own.copy_(reader.read(name, part.global_offset, part.local_shape))
            continue
        boxes = [
            reader.read(name, [a + b for a, b in zip(part.global_offset, offset, strict=True)], shape).view(-1)
            for offset, shape in boxes_of_run(tuple(part.local_shape), *shard.run)
        ]
        own.copy_(torch.cat(boxes).view(own.shape))
