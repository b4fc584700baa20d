# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a sharded model: weights in Hugging Face layout, the optimizer in shards; no rank holds either whole.

Each rank gathers some of the layers, one parameter at a time, and writes them as one of the files that
``model.safetensors.index.json`` names: transformers opens the folder like any other. ``training_state/shards`` holds
the moments as each rank has them (``bionemo.llm.checkpoints.shards``).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from bionemo.core.files import sync_path, write_json
from bionemo.llm.checkpoints.hf_directory import (
    HuggingFaceLayout,
    size_and_checksum,
    write_checksums,
    write_tensors,
)
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.checkpoints.shards import (
    MOMENTS,
    SHARDS_DIR,
    Piece,
    ShardReader,
    write_index,
    write_pieces,
)
from bionemo.llm.checkpoints.weight_files import WEIGHTS_FILE, WEIGHTS_INDEX_FILE
from bionemo.llm.training.optimizer import trainable_parameters
from bionemo.llm.training.ranks.run_files import RunFiles
from bionemo.llm.training.ranks.sharded_model import own_rows, reshard
from bionemo.llm.training.ranks.sharded_sink import HostCopies
from bionemo.llm.training.run_directory import STATE_DIR


class ShardedModelParts:
    """See ``CheckpointParts``.

    Args:
        files: What is beside the tensors.
        gather_extra: Called on every rank; returns what writes further files of the model, on the first.
    """

    def __init__(
        self, files: RunFiles, gather_extra: Callable[[nn.Module], Callable[[Path], None]] | None = None
    ) -> None:
        self.files, self.gather_extra = files, gather_extra
        self._copies = HostCopies()

    def write_rest(self, folder: Path, module: pl.LightningModule, metrics: Mapping[str, float], name: str) -> None:
        """Write configuration, tokenizer, model card, and the state of the run."""
        self.files.write(
            folder, module, module.config, metrics, name, strategy="fsdp", world_size=module.trainer.world_size
        )
        (folder / STATE_DIR / SHARDS_DIR).mkdir()

    def take(self, module: pl.LightningModule, *, copy: bool) -> Callable[[Path], None]:
        """Gather this rank's layers, and return what writes them and the moments."""
        model, optimizer = module.module, module.optimizers(use_pl_optimizer=False)
        assert isinstance(model, nn.Module)
        assert isinstance(optimizer, torch.optim.Optimizer)
        rank, num_ranks = module.trainer.global_rank, module.trainer.world_size
        reshard(model)
        moments, config = own_moments(model, optimizer), module.config
        if copy:
            copies = self._copies.copy({piece.name: piece.tensor for piece in moments}, "moments")
            moments = [piece._replace(tensor=copies[piece.name]) for piece in moments]
        weights = own_layers(model, rank, num_ranks)
        write_extra = None if self.gather_extra is None else self.gather_extra(model)

        def write(folder: Path) -> None:
            if write_extra is not None and rank == 0:
                write_extra(folder)
            write_pieces(folder / STATE_DIR / SHARDS_DIR, rank, moments)
            sync_path(folder / STATE_DIR / SHARDS_DIR / f"rank-{rank:05d}.safetensors")
            renamed = in_hf_layout(self.files.layout, config, weights, is_first=rank == 0)
            write_weights(folder, renamed, rank, num_ranks)

        return write

    def complete(self, folder: Path, world_size: int) -> None:
        """Write the indices of weights and moments, and all checksums."""
        shards = folder / STATE_DIR / SHARDS_DIR
        write_index(shards, world_size)
        prefix = f"{STATE_DIR}/{SHARDS_DIR}"
        known: dict[str, Any] = {f"{prefix}/{name}": entry for name, entry in ShardReader(shards).files.items()}
        weight_map: dict[str, str] = {}
        total_size = 0
        for rank in range(world_size):
            path = folder / _record_name(rank)
            record = read_json(path)
            path.unlink()
            if record["file"] is not None:
                known[record["file"]] = record["written"]
                weight_map |= dict.fromkeys(record["names"], record["file"])
                total_size += record["total_size"]
        if world_size > 1:
            index = {"metadata": {"total_size": total_size}, "weight_map": dict(sorted(weight_map.items()))}
            write_json(folder / WEIGHTS_INDEX_FILE, index)
        write_checksums(folder, known)


def own_moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Piece]:
    """Return the optimizer's moments of the rows on this rank; nothing of ranks with another copy of the model."""
    pieces = []
    for name, parameter in trainable_parameters(model).items():
        state = optimizer.state.get(parameter, {})
        for moment in MOMENTS:
            if moment not in state:
                continue
            whole = state[moment]
            assert isinstance(whole, DTensor)
            if whole.device_mesh.ndim > 1 and whole.device_mesh.get_local_rank(0) > 0:
                continue
            rows = whole.to_local()
            offset = (own_rows(whole).start, *(0 for _ in whole.shape[1:]))
            if rows.numel():
                pieces.append(Piece(f"optimizer.state.{moment}.{name}", tuple(whole.shape), offset, rows))
    return pieces


def own_layers(model: nn.Module, rank: int, num_ranks: int) -> dict[str, Tensor]:
    """Gather the tensors that this rank writes, on the host; the others are returned without memory.

    Layers take turns; what is no layer's is the first rank's. Every rank calls this: one whole parameter at a time is
    on every device.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        whole = tensor.detach()
        if isinstance(whole, DTensor):
            on_device: Any = whole.to(whole.device_mesh.device_type)  # from the host where it is offloaded
            whole = on_device.full_tensor()
        owner = writer_of(name, num_ranks)
        tensors[name] = whole.to("cpu", copy=True) if owner == rank else torch.empty_like(whole, device="meta")
    return tensors


def writer_of(name: str, num_ranks: int) -> int:
    """Return the rank that writes a tensor.

    Example:
        >>> writer_of("encoder.layers.5.mlp.linear_fc1.weight", 4)
        1
    """
    layer = next((part for part in name.split(".") if part.isdecimal()), "0")
    return int(layer) % num_ranks


def in_hf_layout(
    layout: HuggingFaceLayout[Any], config: Any, state: Mapping[str, Tensor], *, is_first: bool
) -> dict[str, Tensor]:
    """Rename this rank's tensors to those of the file.

    Args:
        layout: Names of the model family.
        config: The model's.
        state: The whole model's state dict, on the meta device where another rank writes it.
        is_first: Whether to write constants too, which the layout adds.
    """
    tensors = layout.tensors_to_hf(state, config)
    nothing = {name: tensor.to("meta") for name, tensor in state.items()}
    constants = {name for name, tensor in layout.tensors_to_hf(nothing, config).items() if not tensor.is_meta}
    return {
        name: tensor for name, tensor in tensors.items() if not tensor.is_meta and (is_first or name not in constants)
    }


def write_weights(folder: Path, tensors: Mapping[str, Tensor], rank: int, num_ranks: int) -> None:
    """Write this rank's weights, and a record of them for the index."""
    file = None
    record: dict[str, Any] = {}
    if tensors:
        file = WEIGHTS_FILE if num_ranks == 1 else f"model-{rank + 1:05d}-of-{num_ranks:05d}.safetensors"
        write_tensors(folder / file, tensors)
        sync_path(folder / file)
        record = {
            "written": size_and_checksum(folder / file),
            "names": list(tensors),
            "total_size": sum(tensor.nbytes for tensor in tensors.values()),
        }
    write_json(folder / _record_name(rank), {"file": file, **record})


def _record_name(rank: int) -> str:
    return f"rank-{rank:05d}.weights.json"
