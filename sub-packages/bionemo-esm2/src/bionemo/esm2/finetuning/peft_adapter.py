# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters of ESM-2 in the files of the ``peft`` package, both ways and bit for bit.

``adapter_config.json`` and ``adapter_model.safetensors`` lie in a folder ``adapter/`` of a checkpoint;
``peft.PeftModel.from_pretrained(base, folder)`` puts them on the base model. Query, key and value have an adapter
each, as there. The merged model lies in the checkpoint itself.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bionemo.core.errors import CheckpointError
from bionemo.core.files import write_json
from bionemo.llm.checkpoints.hf_directory import read_tensors, write_tensors
from bionemo.llm.checkpoints.hf_tensors import fuse_qkv, split_qkv
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.model.lora import ORIGINAL_WEIGHT, LowRankUpdate, SeparateQKVUpdate
from bionemo.llm.training.ranks.sharded_model import whole


ADAPTER_DIR = "adapter"
CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
HF_MODULES = {
    "self_attention.linear_qkv": "attention.self",
    "self_attention.linear_proj": "attention.output.dense",
    "mlp.linear_fc1": "intermediate.dense",
    "mlp.linear_fc2": "output.dense",
}
"""Our matrices of a layer, and transformers' (below query, key and value where they are one of ours)."""
_LAYER = re.compile(r"(?:model\.)?encoder\.layers\.(\d+)\.(.+)")


def merged_state(state: Mapping[str, Tensor], num_attention_heads: int, scale: float) -> dict[str, Tensor]:
    """Make adapters part of the weights that they change, by the same sums as in a forward pass.

    Args:
        state: State dict of a model with or without adapters.
        num_attention_heads: Heads of its layers.
        scale: Of the adapters, alpha divided by their rank.

    Returns:
        State dict of the plain model.
    """

    def updated(weight: Tensor, update: str) -> Tensor:
        return torch.addmm(weight, state[f"{update}.up"], state[f"{update}.down"], alpha=scale)

    merged: dict[str, Tensor] = {}
    for name, value in state.items():
        if ".parametrizations." not in name:
            merged[name] = value
        elif name.endswith(ORIGINAL_WEIGHT):
            layer = name.removesuffix(ORIGINAL_WEIGHT)
            update = f"{layer}.parametrizations.weight.0"
            if f"{update}.up" in state:
                merged[f"{layer}.weight"] = updated(value, update)
            else:
                parts = split_qkv(value, num_attention_heads).items()
                separate = (updated(tensor, f"{update}.parts.{part}") for part, tensor in parts)
                merged[f"{layer}.weight"] = fuse_qkv(separate, num_attention_heads)
    return merged


class Adapter(NamedTuple):
    """One adapter of a model.

    Attributes:
        name: In the model's state dict.
        layer: Transformers' name of the layer that it is on.
        update: The adapter.
    """

    name: str
    layer: str
    update: LowRankUpdate


def adapters_of(module: nn.Module) -> Iterator[Adapter]:
    """Iterate over the adapters of an ESM-2."""
    for name, part in module.named_modules():
        owner, _, rest = name.partition(".parametrizations.weight.0")
        found = _LAYER.fullmatch(owner)
        if not found or not isinstance(part, LowRankUpdate | SeparateQKVUpdate) or rest:
            continue
        layer, matrix = found.groups()
        prefix = f"esm.encoder.layer.{layer}.{HF_MODULES[matrix]}"
        if isinstance(part, SeparateQKVUpdate):
            for qkv, update in part.parts.items():
                assert isinstance(update, LowRankUpdate)
                yield Adapter(f"{name}.parts.{qkv}", f"{prefix}.{qkv}", update)
        else:
            yield Adapter(name, prefix, part)


def adapter_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the adapters of an ESM-2 by their names in the file; of a sharded model every rank calls this.

    Args:
        module: The model with its adapters.
    """
    tensors: dict[str, Tensor] = {}
    for _, layer, update in adapters_of(module):
        tensors[f"{PREFIX}{layer}.lora_A.weight"] = whole(update.down.detach())
        tensors[f"{PREFIX}{layer}.lora_B.weight"] = whole(update.up.detach())
    return tensors


def write_adapter(directory: Path, *, tensors: Mapping[str, Tensor], base_model: str, rank: int, alpha: float) -> None:
    """Write ``adapter/`` into a checkpoint directory that is not visible yet.

    Args:
        directory: The unfinished checkpoint.
        tensors: Adapters by their names in the file, and the parameters of a head that transformers knows,
            ``base_model.model.classifier.*``, where the model has one.
        base_model: Folder or name of the pretrained model.
        rank: Inner dimension of the adapters.
        alpha: Their scale, divided by the rank.
    """
    head = {name for name in tensors if name.startswith(f"{PREFIX}classifier.")}
    names = {name.removeprefix(PREFIX).partition(".lora_")[0] for name in tensors if name not in head}
    folder = directory / ADAPTER_DIR
    folder.mkdir()
    write_tensors(folder / WEIGHTS_FILE, tensors)
    kinds = "|".join(sorted({re.escape(name.split(".layer.")[1].partition(".")[2]) for name in names}))
    task = None
    if head:
        task = "SEQ_CLS" if f"{PREFIX}classifier.dense.weight" in head else "TOKEN_CLS"
    write_json(
        folder / CONFIG_FILE,
        {
            "peft_type": "LORA",
            "task_type": task,
            "base_model_name_or_path": base_model,
            "r": rank,
            "lora_alpha": alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
            "init_lora_weights": True,
            "target_modules": rf".*esm\.encoder\.layer\.\d+\.({kinds})",
            "modules_to_save": ["classifier"] if head else None,
        },
    )


def read_adapter(directory: Path, module: nn.Module) -> None:
    """Fill the adapters of a model from ``peft`` files; see `adapter_state`."""
    module.load_state_dict(adapter_state(directory, module), strict=False)


def adapter_state(directory: Path, module: nn.Module) -> dict[str, Tensor]:
    """Read the adapters of a model from ``peft`` files, under the names of its state dict.

    Args:
        directory: Folder of the two files.
        module: A model with adapters of the same rank on the same layers; may be on the meta device.

    Raises:
        CheckpointError: The files are missing, or of other layers or another rank.
    """
    state: dict[str, Tensor] = {}
    tensors = read_tensors(directory / WEIGHTS_FILE)
    values = read_json(directory / CONFIG_FILE)
    for name, layer, update in adapters_of(module):
        alpha = values.get("lora_alpha", 0) / max(values.get("r", 1), 1)
        if abs(alpha - update.scale) > 1e-9:
            raise CheckpointError(
                f"{directory}: lora_alpha / r is {alpha:g}, the flags say {update.scale:g}. Give --lora-rank and "
                "--lora-alpha as in its adapter_config.json."
            )
        for kind, own, parameter in (("lora_A", "down", update.down), ("lora_B", "up", update.up)):
            key = f"{PREFIX}{layer}.{kind}.weight"
            found: Any = tensors.get(key)
            if found is None or found.shape != parameter.shape:
                what = "is missing" if found is None else f"has shape {tuple(found.shape)}"
                raise CheckpointError(
                    f"{directory}: {key} {what}, expected {tuple(parameter.shape)}. Give the --lora-rank that its "
                    "adapter_config.json says."
                )
            state[f"{name}.{own}"] = found.float()
    return state
