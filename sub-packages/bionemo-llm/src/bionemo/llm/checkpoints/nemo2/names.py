# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Names of a NeMo 2 file and those of a Megatron model with one set of parameters for each layer.

The file puts all layers into one tensor with a leading layer axis, the wrappers of a run before every name, and, where
the model was built from Transformer Engine's layers, each norm into the linear layer that follows it.
"""

import logging
import re
from collections.abc import Iterator, Mapping

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.lazy_tensors import LazyTensor, LazyTensors
from bionemo.llm.checkpoints.nemo2.stored_tensors import BoxTensor


logger = logging.getLogger(__name__)

WRAPPER = "module."
OPTIMIZER_PREFIXES = ("optimizer.", "chained_")
OTHER_HEADS = ("binary_head.", "pooler.", "regression_head.", "classification_head.")
"""Of models trained for another objective; the encoder is read without them."""
OUTPUT_WEIGHT = "output_layer.weight"
"""Repeats the word embeddings."""
EXTRA_STATE = "._extra_state"
LAYERS = "encoder.layers."
TRANSFORMER_ENGINE_NORMS = {
    "self_attention.linear_qkv.layer_norm_": "input_layernorm.",
    "mlp.linear_fc1.layer_norm_": "pre_mlp_layernorm.",
}
_NUMBERED = re.compile(r"\d+\.")


def model_tensors(stored: Mapping[str, BoxTensor], num_layers: int) -> LazyTensors:
    """Return the model's tensors under Megatron's names, layer by layer; nothing is read yet.

    Args:
        stored: Name in the file to tensor.
        num_layers: Number of layers.

    Raises:
        CheckpointError: A tensor of all layers has another number of them, or a name appears twice.
    """
    if any(name.startswith(OPTIMIZER_PREFIXES) for name in stored):
        logger.info("not read: the optimizer's state")
    entries: dict[str, LazyTensor] = {}
    for stored_name, tensor in stored.items():
        plain = plain_name(stored_name)
        if stored_name.startswith(OPTIMIZER_PREFIXES) or EXTRA_STATE in stored_name or plain == OUTPUT_WEIGHT:
            continue
        if plain.startswith(OTHER_HEADS):
            logger.warning("not read: %s, a part beside the encoder and a masked-token head", plain)
            continue
        for name, entry in _unstacked(plain, tensor, num_layers):
            if name in entries:
                raise CheckpointError(f"the weights hold {name} twice, the second time as {stored_name}.")
            entries[name] = entry
    return LazyTensors(entries)


def plain_name(name: str) -> str:
    """Return a name without the wrappers of a run.

    Example:
        >>> plain_name("module.module.encoder.final_layernorm.weight")
        'encoder.final_layernorm.weight'
    """
    while name.startswith(WRAPPER):
        name = name.removeprefix(WRAPPER)
    return name


def local_name(name: str) -> str:
    """Return the name that a parameter of a layer has without Transformer Engine.

    Example:
        >>> local_name("mlp.linear_fc1.layer_norm_bias")
        'pre_mlp_layernorm.bias'
    """
    for fused, norm in TRANSFORMER_ENGINE_NORMS.items():
        if name.startswith(fused):
            return norm + name.removeprefix(fused)
    return name


def transformer_engine_name(name: str) -> str:
    """Return the name that a parameter of a layer has with Transformer Engine; see `local_name`.

    Example:
        >>> transformer_engine_name("pre_mlp_layernorm.bias")
        'mlp.linear_fc1.layer_norm_bias'
    """
    for fused, norm in TRANSFORMER_ENGINE_NORMS.items():
        if name.startswith(norm):
            return fused + name.removeprefix(norm)
    return name


def _unstacked(name: str, tensor: BoxTensor, num_layers: int) -> Iterator[tuple[str, LazyTensor]]:
    if not name.startswith(LAYERS):
        yield name, _whole(tensor)
        return
    own = name.removeprefix(LAYERS)
    if number := _NUMBERED.match(own):
        yield f"{LAYERS}{number[0]}{local_name(own.removeprefix(number[0]))}", _whole(tensor)
        return
    if tensor.shape[:1] != (num_layers,):
        raise CheckpointError(f"{name} has shape {tensor.shape}, expected {num_layers} layers.")
    for layer in range(num_layers):
        yield f"{LAYERS}{layer}.{local_name(own)}", _layer(tensor, layer)


def _whole(tensor: BoxTensor) -> LazyTensor:
    return LazyTensor(tensor.shape, lambda: tensor.read((0,) * len(tensor.shape), tensor.shape))


def _layer(tensor: BoxTensor, layer: int) -> LazyTensor:
    shape = tensor.shape[1:]
    return LazyTensor(shape, lambda: tensor.read((layer, *(0 for _ in shape)), (1, *shape)).view(shape))
