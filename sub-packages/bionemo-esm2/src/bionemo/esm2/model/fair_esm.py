# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""ESM-2 in the files of its authors (fair-esm): ``esm2_t33_650M_UR50D.pt`` and ``…-contact-regression.pt`` beside it.

Names are those of Hugging Face's layout by the table below; the alphabet has the same 33 tokens in the same order.
"""

import argparse
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError
from bionemo.core.files import atomic_file
from bionemo.esm2.model.model import ESM2Config
from bionemo.llm.checkpoints.hf_directory import LoadedModel
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors, in_memory
from bionemo.llm.checkpoints.weight_files import load_pickle


logger = logging.getLogger(__name__)

PREFIXES = ("encoder.sentence_encoder.", "sentence_encoder.", "encoder.")
REGRESSION_ENDING = "-contact-regression.pt"
LAYERNORM_EPSILON = 1e-5
WHOLE_MODEL_NAMES = {
    "embed_tokens.weight": "esm.embeddings.word_embeddings.weight",
    "emb_layer_norm_after.weight": "esm.encoder.emb_layer_norm_after.weight",
    "emb_layer_norm_after.bias": "esm.encoder.emb_layer_norm_after.bias",
    "lm_head.weight": "lm_head.decoder.weight",
    "lm_head.bias": "lm_head.bias",
    "lm_head.dense.weight": "lm_head.dense.weight",
    "lm_head.dense.bias": "lm_head.dense.bias",
    "lm_head.layer_norm.weight": "lm_head.layer_norm.weight",
    "lm_head.layer_norm.bias": "lm_head.layer_norm.bias",
    "contact_head.regression.weight": "esm.contact_head.regression.weight",
    "contact_head.regression.bias": "esm.contact_head.regression.bias",
}
LAYER_MODULES = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "LayerNorm",
}
INV_FREQ = ("self_attn.rot_emb.inv_freq", "attention.self.rotary_embeddings.inv_freq")
_LAYER = re.compile(r"layers\.(\d+)\.(.+)\.(weight|bias)")
_LAYER_INV_FREQ = re.compile(r"layers\.(\d+)\." + re.escape(INV_FREQ[0]))


class FairEsmForm:
    """A file of fair-esm; see ``bionemo.llm.checkpoints.forms.CheckpointForm``."""

    description = "a fair-esm file (.pt)"

    def recognizes(self, path: Path) -> bool:
        """Check whether it is a ``.pt`` file."""
        return path.is_file() and path.suffix == ".pt"

    def load(self, path: Path) -> LoadedModel[ESM2Config]:
        """Load model and contact regression.

        Raises:
            CheckpointError: The file is damaged or holds another model.
        """
        from bionemo.esm2.model.hf_layout import ESM2Layout

        layout = ESM2Layout()
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = load_pickle(path)
        tensors = dict(hf_named_tensors(state_of(content, path)))
        regression = path.with_name(path.stem + REGRESSION_ENDING)
        if regression.is_file():
            tensors |= hf_named_tensors(state_of(load_pickle(regression), regression))
        if "esm.encoder.layer.0.attention.self.rotary_embeddings.inv_freq" not in tensors:
            raise CheckpointError(f"{path}: holds no rotary frequencies, so it is no ESM-2 (perhaps ESM-1).")
        config = layout.config_from_hf(config_values(content, tensors, path), str(path))
        lazy = LazyTensors({name: in_memory(tensor) for name, tensor in tensors.items()})
        return LoadedModel(config, layout.tensors_from_hf(lazy, config))


def state_of(content: Any, path: Path) -> Mapping[str, Tensor]:
    """Return the state dict of a file.

    Raises:
        CheckpointError: It holds none.
    """
    state = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise CheckpointError(f"{path}: holds no fair-esm model, expected names and tensors under 'model'.")
    return state


def hf_named_tensors(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Iterate over a state dict of fair-esm under the names of Hugging Face; unknown names stay."""
    for name, tensor in state.items():
        prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")
        own = name.removeprefix(prefix)
        if own != "version":
            yield hf_name(own), tensor


def hf_name(name: str) -> str:
    """Translate one name of fair-esm; an unknown one stays.

    Example:
        >>> hf_name("layers.3.self_attn.q_proj.bias")
        'esm.encoder.layer.3.attention.self.query.bias'
    """
    if found := _LAYER_INV_FREQ.fullmatch(name):
        return f"esm.encoder.layer.{found[1]}.{INV_FREQ[1]}"
    if (found := _LAYER.fullmatch(name)) and found[2] in LAYER_MODULES:
        return f"esm.encoder.layer.{found[1]}.{LAYER_MODULES[found[2]]}.{found[3]}"
    return WHOLE_MODEL_NAMES.get(name, name)


def config_values(content: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """Return what config.json would say.

    Raises:
        CheckpointError: The file does not say its number of layers, hidden size or heads.
    """
    settings = content.get("cfg") or content.get("args")
    if isinstance(settings, Mapping):
        settings = settings.get("model")
    values = vars(settings) if isinstance(settings, argparse.Namespace) else settings
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{path}: says nothing about its architecture under 'cfg' or 'args'.")

    def setting(name: str) -> Any:
        return values.get(f"encoder_{name}", values.get(name))

    first = tensors.get("esm.encoder.layer.0.intermediate.dense.weight")
    return {
        "model_type": "esm",
        "vocab_size": 33,
        "position_embedding_type": "rotary",
        "emb_layer_norm_before": False,
        "num_hidden_layers": setting("layers"),
        "hidden_size": setting("embed_dim"),
        "num_attention_heads": setting("attention_heads"),
        "intermediate_size": None if first is None or first.ndim != 2 else len(first),
        "layer_norm_eps": LAYERNORM_EPSILON,
        "token_dropout": bool(values.get("token_dropout", True)),
    }


def save_fair_esm(tensors: Mapping[str, Tensor], config: ESM2Config, path: Path) -> None:
    """Save a model so that ``esm.pretrained.load_model_and_alphabet(path)`` opens it.

    Args:
        tensors: Under the names of Hugging Face's layout.
        config: The architecture.
        path: ``esm2_NAME.pt``: fair-esm tells ESM-2 by this beginning. ``esm2_NAME-contact-regression.pt`` is written
            beside it.

    Raises:
        CheckpointError: The name is another one, or fair-esm has no such model: other feed-forward size
            than four times the hidden size, other epsilon of LayerNorm, no token dropout.
    """
    if not (path.name.startswith("esm2_") and path.suffix == ".pt"):
        raise CheckpointError(f"{path}: fair-esm opens an ESM-2 by its name only. Call the file esm2_NAME.pt.")
    if config.ffn_hidden_size != 4 * config.hidden_size or not config.token_dropout:
        raise CheckpointError(
            f"{path}: fair-esm has no ESM-2 with ffn_hidden_size {config.ffn_hidden_size} at hidden_size "
            f"{config.hidden_size} (always four times as much) or without token dropout."
        )
    if config.layernorm_epsilon != LAYERNORM_EPSILON:
        raise CheckpointError(
            f"{path}: fair-esm computes LayerNorm with epsilon {LAYERNORM_EPSILON:g}, this model has "
            f"{config.layernorm_epsilon:g}. Use the Hugging Face layout."
        )
    theirs = {hf_name(name): name for name in fair_esm_names(config.num_layers)}
    named = {**tensors, "lm_head.decoder.weight": tensors["esm.embeddings.word_embeddings.weight"]}
    state: dict[str, Tensor] = {}
    regression: dict[str, Tensor] = {}
    for name, tensor in named.items():
        own = theirs[name]
        part = regression if own.startswith("contact_head.") else state
        prefix = PREFIXES[2] if own.startswith("lm_head.") else PREFIXES[0]
        part[own if part is regression else prefix + own] = tensor.detach().cpu().contiguous()
    settings = argparse.Namespace(
        arch="transformer_lm",
        encoder_layers=config.num_layers,
        encoder_embed_dim=config.hidden_size,
        encoder_attention_heads=config.num_attention_heads,
        token_dropout=True,
    )
    with atomic_file(path.with_name(path.stem + REGRESSION_ENDING)) as file:
        torch.save({"model": regression}, file)
    with atomic_file(path) as file:
        torch.save({"cfg": {"model": settings}, "model": state}, file)


def fair_esm_names(num_layers: int) -> Iterator[str]:
    """Iterate over the names of all tensors, without prefix."""
    yield from WHOLE_MODEL_NAMES
    for layer in range(num_layers):
        yield f"layers.{layer}.{INV_FREQ[0]}"
        for module in LAYER_MODULES:
            yield f"layers.{layer}.{module}.weight"
            yield f"layers.{layer}.{module}.bias"
