# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in the form of NeMo 2, made from models of transformers by a table of names of their own.

What is tested reads them; nothing of it is used here. The tensors are written by torch, Megatron-core or zarr.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor


VOCABULARY_MULTIPLE = 128
PREFIX = "module.module."
SHARDED_AXIS = {
    "linear_qkv.weight": 1, "linear_qkv.bias": 1, "linear_fc1.weight": 1, "linear_fc1.bias": 1,
    "linear_proj.weight": 2, "linear_fc2.weight": 2, "word_embeddings.weight": 0, "output_layer.bias": 0,
}  # fmt: skip
"""Axis that tensor-parallel ranks share, by the end of the name; layers are the first axis of a layer's tensors."""


def nemo_tensors(
    state: Mapping[str, Tensor], num_layers: int, num_attention_heads: int, *, transformer_engine: bool
) -> dict[str, Tensor]:
    """Name the weights of ``EsmForMaskedLM`` or ``MegatronBertForMaskedLM`` as NeMo 2 does.

    Args:
        state: The model's state dict.
        num_layers: Layers.
        num_attention_heads: Heads.
        transformer_engine: Whether the norms are part of the linear layers behind them.

    Returns:
        Name without prefix to tensor; those of a layer with a leading layer axis, the vocabulary padded.
    """
    import torch

    esm = any(name.startswith("esm.") for name in state)
    base, norms = ("esm", ("attention.LayerNorm", "LayerNorm")) if esm else ("bert", ("attention.ln", "ln"))
    first, second = (
        ("self_attention.linear_qkv.layer_norm_", "mlp.linear_fc1.layer_norm_")
        if transformer_engine
        else ("input_layernorm.", "pre_mlp_layernorm.")
    )
    linears = {"attention.output.dense": "self_attention.linear_proj.", "intermediate.dense": "mlp.linear_fc1."}
    modules = {norms[0]: first, norms[1]: second, "output.dense": "mlp.linear_fc2.", **linears}

    def layers(name: str) -> Tensor:
        return torch.stack([state[f"{base}.encoder.layer.{layer}.{name}"] for layer in range(num_layers)])

    tensors = {}
    for kind in ("weight", "bias"):
        query, key, value = (layers(f"attention.self.{part}.{kind}") for part in ("query", "key", "value"))
        size = query.shape[1] // num_attention_heads
        slices = [slice(head * size, (head + 1) * size) for head in range(num_attention_heads)]
        fused = [part[:, rows] for rows in slices for part in (query, key, value)]
        tensors[f"encoder.layers.self_attention.linear_qkv.{kind}"] = torch.cat(fused, dim=1)
        for theirs, own in modules.items():
            tensors[f"encoder.layers.{own}{kind}"] = layers(f"{theirs}.{kind}")
        final = "esm.encoder.emb_layer_norm_after" if esm else "bert.encoder.ln"
        tensors[f"encoder.final_layernorm.{kind}"] = state[f"{final}.{kind}"]
        head = ("lm_head.dense", "lm_head.layer_norm")
        if not esm:
            head = ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm")
        tensors[f"lm_head.dense.{kind}"] = state[f"{head[0]}.{kind}"]
        tensors[f"lm_head.layer_norm.{kind}"] = state[f"{head[1]}.{kind}"]
    tensors["embedding.word_embeddings.weight"] = _padded(state[f"{base}.embeddings.word_embeddings.weight"])
    tensors["output_layer.bias"] = _padded(state["lm_head.bias" if esm else "cls.predictions.bias"])
    if not esm:
        tensors["embedding.position_embeddings.weight"] = state["bert.embeddings.position_embeddings.weight"]
    return tensors


def _padded(table: Tensor) -> Tensor:
    """Fill a table up with rows that are not zero: trained models have such ones."""
    rows = -len(table) % VOCABULARY_MULTIPLE
    import torch

    return torch.cat([table, table.new_full((rows, *table.shape[1:]), 0.25)])


def write_with_torch(folder: Path, tensors: Mapping[str, Tensor], *, extra: Mapping[str, Any] | None = None) -> None:
    """Write the folder ``weights`` with ``torch.distributed.checkpoint``: each tensor in one part, in two files.

    Args:
        folder: Of the checkpoint.
        tensors: From `nemo_tensors`.
        extra: Further entries under their full names, such as tensors of an optimizer.
    """
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    weights = folder / "weights"
    writer = FileSystemWriter(weights, single_file_per_rank=False, thread_count=1)
    content = {PREFIX + name: tensor for name, tensor in tensors.items()}
    content["optimizer.state.exp_avg." + PREFIX + "lm_head.dense.bias"] = tensors["lm_head.dense.bias"] * 2
    save({**content, **(extra or {})}, storage_writer=writer, no_dist=True)
    _write_rest(weights, "torch_dist")


def write_with_zarr(folder: Path, tensors: Mapping[str, Tensor], *, num_ranks: int = 1) -> None:
    """Write the folder ``weights`` as the older backend did: a folder of zarr format 2 for each tensor.

    Args:
        folder: Of the checkpoint.
        tensors: From `nemo_tensors`.
        num_ranks: Tensor-parallel ranks, of which each wrote chunks of its own.
    """
    import torch
    import zarr

    weights = folder / "weights"
    weights.mkdir(parents=True)
    for name, tensor in tensors.items():
        chunks = list(tensor.shape)
        if name.startswith("encoder.layers."):
            chunks[0] = 1
        axis = _sharded_axis(name)
        if axis is not None:
            chunks[axis] //= num_ranks
        half = tensor.dtype == torch.bfloat16
        values = (tensor.view(torch.int16) if half else tensor).numpy()
        array = zarr.create_array(
            weights / (PREFIX + name), shape=values.shape, chunks=tuple(chunks), dtype=values.dtype, zarr_format=2,
            compressors=None, filters=None, fill_value=None, config={"write_empty_chunks": True},
        )  # fmt: skip
        array[...] = values
        if half:  # as Megatron writes it
            path = weights / (PREFIX + name) / ".zarray"
            path.write_text(json.dumps({**json.loads(path.read_text()), "dtype": "bfloat16"}))
    _write_rest(weights, "zarr")


def _write_rest(weights: Path, backend: str) -> None:
    record = {"sharded_backend": backend, "sharded_backend_version": 1, "common_backend": "torch"}
    (weights / "metadata.json").write_text(json.dumps({**record, "common_backend_version": 1}))
    (weights / "common.pt").write_bytes(b"not read")


def write_with_megatron(folder: Path, tensors: Mapping[str, Tensor], num_layers: int) -> None:
    """Write the folder ``weights`` with Megatron-core, the calling ranks being tensor parallel.

    Args:
        folder: Of the checkpoint.
        tensors: From `nemo_tensors`, the same on every rank.
        num_layers: Layers.
    """
    import torch
    import torch.distributed as dist
    from megatron.core import dist_checkpointing, parallel_state
    from megatron.core.dist_checkpointing.mapping import ShardedObject, ShardedTensor

    from bionemo.testing.megatron_on_cpu import megatron_on_cpu

    rank, world_size = dist.get_rank(), dist.get_world_size()
    with megatron_on_cpu():
        parallel_state.initialize_model_parallel(tensor_model_parallel_size=world_size)
        try:
            sharded: dict[str, Any] = {}

            def add(key: str, tensor: Tensor, axis: int | None, layer: int | None) -> None:
                offsets = [] if layer is None else [(0, layer, num_layers)]
                if axis is not None:
                    tensor = tensor.chunk(world_size, dim=axis - (layer is not None))[rank].clone()
                    offsets.append((axis, rank, world_size))
                replica = (0, 0 if axis is not None else rank, 0)
                sharded[f"{key} {layer}"] = ShardedTensor.from_rank_offsets(
                    PREFIX + key, tensor, *offsets, replica_id=replica, prepend_axis_num=int(layer is not None)
                )

            for name, tensor in tensors.items():
                if name.startswith("encoder.layers."):
                    for layer in range(num_layers):
                        add(name, tensor[layer].clone(), _sharded_axis(name), layer)
                else:
                    add(name, tensor, _sharded_axis(name), None)
            name = PREFIX + "encoder.layers.mlp.linear_fc1._extra_state"
            for layer in range(num_layers):
                sharded[f"extra {layer}"] = ShardedObject(
                    name, torch.zeros(3, dtype=torch.uint8), (num_layers,), (layer,), replica_id=(0, rank, 0)
                )
            if rank == 0:
                (folder / "weights").mkdir(parents=True)
            dist.barrier()
            dist_checkpointing.save(sharded, str(folder / "weights"))
        finally:
            parallel_state.destroy_model_parallel()


def _sharded_axis(name: str) -> int | None:
    return next((axis for ending, axis in SHARDED_AXIS.items() if name.endswith(ending)), None)


def write_context(
    folder: Path,
    model_class: tuple[str, str],
    settings: Mapping[str, Any],
    dictionaries: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write ``context/io.json`` as NeMo's serialization of a training run does.

    Args:
        folder: Of the checkpoint.
        model_class: Module and name of the model's configuration.
        settings: Its arguments; a pair of texts is a function's module and name.
        dictionaries: Arguments of the tokenizer.
    """
    objects: dict[str, Any] = {}

    def add(module: str, name: str, arguments: Mapping[str, Any], path: str) -> dict[str, str]:
        key = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() + "_1"
        metadata = {"type": "pyref", "module": module, "name": name}
        objects[f"metadata_{key}"] = {
            "type": {"type": "pyref", "module": "fiddle._src.config", "name": "BuildableTraverserMetadata"},
            "items": [["Attr(name='fn_or_cls')", metadata]],
            "metadata": None,
        }
        items = [[f"Attr(name={argument!r})", _argument(value)] for argument, value in arguments.items()]
        objects[key] = {
            "type": {"type": "pyref", "module": "fiddle._src.config", "name": "Config"},
            "items": items,
            "metadata": {"type": "ref", "key": f"metadata_{key}"},
            "paths": [path],
        }
        return {"type": "ref", "key": key}

    config = add(*model_class, settings, "<root>.model.config")
    tokenizer = {}
    for name, mapping in (dictionaries or {}).items():
        items = [[f"Key(key={key!r})", _argument(value)] for key, value in mapping.items()]
        objects[f"dict_{name}"] = {"type": {"type": "pyref", "module": "builtins", "name": "dict"}, "items": items}
        tokenizer[name] = {"type": "ref", "key": f"dict_{name}"}
    arguments = {"config": config, "tokenizer": add("their.module", "GeneTok", tokenizer, "<root>.model.tokenizer")}
    root = add("bionemo.llm.lightning", "BionemoLightningModule", arguments, "<root>.model")
    (folder / "context").mkdir(parents=True)
    (folder / "context/io.json").write_text(json.dumps({"root": root, "objects": objects}))


def _argument(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    if isinstance(value, tuple):
        return {"type": "pyref", "module": value[0], "name": value[1]}
    return {"type": "leaf", "value": value, "paths": []}
