# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Convert a model of any readable form: to the Hugging Face layout, a NeMo 2 folder, or shards of the megatron engine.

What the result does not hold is logged in one line.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError
from bionemo.core.files import atomic_directory
from bionemo.llm.checkpoints.convert_config import ConversionFlags, ShardingFlags
from bionemo.llm.checkpoints.hf_directory import (
    CONFIG_FILE,
    TOKEN_HEAD_PREFIXES,
    HuggingFaceLayout,
    LoadedModel,
    write_checksums,
    write_description,
    write_tensors,
)
from bionemo.llm.checkpoints.json_files import ConfigValues, read_json
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors
from bionemo.llm.checkpoints.model_shards import write_model_shards
from bionemo.llm.checkpoints.nemo2.form import Nemo2Form
from bionemo.llm.checkpoints.nemo2.writer import Pyref, write_context, write_weights
from bionemo.llm.checkpoints.weight_files import WEIGHTS_FILE
from bionemo.llm.training.run_directory import STATE_DIR


logger = logging.getLogger(__name__)

ALWAYS_FLOAT32 = "inv_freq"
"""Rotary frequencies: rounded ones would turn distant positions by wrong angles."""
MASKED_LM = "ForMaskedLM"


def write_hf(source: Path, loaded: LoadedModel[Any], layout: HuggingFaceLayout[Any], flags: ConversionFlags) -> Path:
    """Write a loaded model in Hugging Face layout: with its masked-token head, or as a base model without one.

    Args:
        source: Where the model lies, for the log.
        loaded: Its configuration and weights.
        layout: Of its family; writes the tokenizer too.
        flags: Where to, and in which data type.

    Returns:
        The folder.

    Raises:
        CheckpointError: A weight is too large for the data type.
        DataFileError: The folder exists or cannot be written.
    """
    log_left_out(source)
    tensors = cast_weights(layout.tensors_to_hf(loaded.state, loaded.config), flags.dtype)
    values = {**layout.config_to_hf(loaded.config), "torch_dtype": flags.dtype}
    if not any(name.startswith(TOKEN_HEAD_PREFIXES) for name in tensors):
        values["architectures"] = [name.removesuffix(MASKED_LM) + "Model" for name in values["architectures"]]
    with atomic_directory(flags.out_path, overwrite=flags.overwrite) as unfinished:
        write_description(unfinished, values, layout)
        write_tensors(unfinished / WEIGHTS_FILE, tensors)
        write_checksums(unfinished)
    return flags.out_path


def write_nemo2(
    source: Path,
    loaded: LoadedModel[Any],
    layout: HuggingFaceLayout[Any],
    form: Nemo2Form[Any],
    flags: ConversionFlags,
) -> Path:
    """Write a loaded model as a NeMo 2 folder.

    Args:
        source: Where the model lies, for the log.
        loaded: Its configuration and weights.
        layout: Of its family; writes its dictionaries too.
        form: NeMo 2's form of the family.
        flags: Where to, and in which data type.

    Raises:
        CheckpointError: There is no such model in NeMo 2, or a weight is too large for the data type.
        DataFileError: The folder exists or cannot be written.
    """
    not_held = form.not_held(loaded.state, loaded.config)
    log_left_out(source, dict.fromkeys(words for words in not_held.values() if words))
    kept = LazyTensors.of(loaded.state).select(name for name in loaded.state if name not in not_held)
    tensors = cast_weights(kept, flags.dtype)
    settings = {name: getattr(loaded.config, name) for name in form.settings}
    activation = Pyref("torch.nn.functional", loaded.config.activation_func)
    with atomic_directory(flags.out_path, overwrite=flags.overwrite) as unfinished:
        write_weights(unfinished, tensors, loaded.config.num_layers)
        write_context(unfinished, form.model_class, {**settings, "activation_func": activation})
        layout.save_tokenizer(unfinished)
    return flags.out_path


def write_shards(
    source: Path, loaded: LoadedModel[Any], layout: HuggingFaceLayout[Any], vocab_size: int, flags: ShardingFlags
) -> Path:
    """Write a loaded model as shards of the megatron engine.

    Args:
        source: Where the model lies, for the log.
        loaded: Its configuration and weights.
        layout: Of its family; writes the tokenizer too.
        vocab_size: Tokens, without padding.
        flags: Where to, in which data type, and over how many ranks.

    Raises:
        CheckpointError: A weight is too large for the data type.
        ParallelismError: The model cannot be split into so many parts.
        DataFileError: The folder exists or cannot be written.
    """
    log_left_out(source)
    tensors = cast_weights(loaded.state, flags.dtype)
    values = {**layout.config_to_hf(loaded.config), "torch_dtype": flags.dtype}
    with atomic_directory(flags.out_path, overwrite=flags.overwrite) as unfinished:
        write_description(unfinished, values, layout)
        write_model_shards(unfinished, tensors, loaded.config, vocab_size, flags.parallel())
        write_checksums(unfinished)
    return flags.out_path


def cast_weights(tensors: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
    """Cast weights to a data type, and log how many values it rounds; rotary frequencies stay float32.

    Args:
        tensors: float32.
        dtype: "float32", "float16" or "bfloat16".

    Raises:
        CheckpointError: A value is beyond the range of the data type.

    Example:
        >>> cast_weights({"weight": torch.tensor([0.5])}, "bfloat16")["weight"].dtype
        torch.bfloat16
    """
    target: torch.dtype = getattr(torch, dtype)
    cast: dict[str, Tensor] = {}
    num_values = num_rounded = 0
    for name, tensor in tensors.items():
        cast[name] = tensor if name.endswith(ALWAYS_FLOAT32) else tensor.to(target)
        if not torch.equal(cast[name].isfinite(), tensor.isfinite()):
            largest = tensor.abs().max().item()
            raise CheckpointError(
                f"{name}: its largest value {largest:g} is beyond the range of {dtype}. "
                "Use --dtype bfloat16 or float32."
            )
        num_values += tensor.numel()
        num_rounded += int((cast[name].float() != tensor).sum())
    if num_rounded:
        logger.warning("--dtype %s: %d of %d values are rounded", dtype, num_rounded, num_values)
    return cast


def log_left_out(source: Path, more: Iterable[str] = ()) -> None:
    """Log in one line which parts of a checkpoint a converted model does not have, and what more is lost."""
    lost = [*more, *(["the optimizer's state"] if (source / STATE_DIR).is_dir() else [])]
    if (source / CONFIG_FILE).is_file():
        architecture = ConfigValues(read_json(source / CONFIG_FILE), str(source)).architecture()
        if architecture and not architecture.endswith(MASKED_LM):
            lost.append(f"what {architecture} has beside its encoder and a masked-token head")
    if lost:
        logger.warning("%s: not converted: %s", source, " and ".join(lost))
