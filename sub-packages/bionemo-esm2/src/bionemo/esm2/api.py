# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The Python interface of ESM-2: load and save models in Hugging Face layout; BioNeMo 2 compatible names.

Nothing here touches torch.distributed.
"""

import os
from pathlib import Path

from torch import nn

from bionemo.core.errors import ConfigError
from bionemo.esm2.data.tokenizer import get_tokenizer
from bionemo.esm2.model.hf_layout import OUTPUT_BIAS, ESM2Layout
from bionemo.esm2.model.model import ESM2Config, ESM2GenericConfig, ESM2MaskedLM, ESM2Model, esm2_config
from bionemo.llm.checkpoints.empty_model import build_empty
from bionemo.llm.checkpoints.hf_directory import LoadedModel, load_state, save_checkpoint
from bionemo.llm.checkpoints.model_source import ModelSource, load_model
from bionemo.llm.model.biobert.model import build_model


__all__ = [
    "ESM2Config",
    "ESM2GenericConfig",
    "ESM2MaskedLM",
    "ESM2Model",
    "build_esm2",
    "esm2_config",
    "load_esm2",
    "save_esm2",
]


def build_esm2(config: ESM2Config, *, seed: int = 42) -> ESM2MaskedLM:
    """Build a model with random weights.

    Args:
        config: The architecture, for example ``esm2_config("8M")``.
        seed: The weights are a function of it.

    Returns:
        The model in float32 on the CPU.
    """
    model = build_model(config, get_tokenizer(), seed=seed)
    assert isinstance(model, ESM2Model)
    return ESM2MaskedLM(model)


def load_esm2(source: ModelSource) -> ESM2MaskedLM:
    """Load an ESM-2, by name or from any form of checkpoint.

    A base model (``EsmModel``) or a classifier gives its encoder: hidden states, and None for logits.

    Args:
        source: Folder in Hugging Face layout, fair-esm file, run of ours, or a name on the Hugging Face Hub with
            optional ``@revision`` and ``:subfolder``.

    Returns:
        The model in float32 on the CPU, in evaluation mode.

    Raises:
        CheckpointError: There is no such model, it is damaged or of another kind, or it cannot be downloaded.

    Example:
        >>> load_esm2("facebook/esm2_t6_8M_UR50D").config.num_layers  # doctest: +SKIP
        6
    """
    loaded = load_model(source, ESM2Layout())
    module = build_empty(lambda: _build_for(loaded))
    load_state(module.model, loaded.state, os.fspath(source))
    return module.eval()


def _build_for(loaded: LoadedModel[ESM2Config]) -> ESM2MaskedLM:
    module = build_esm2(loaded.config)
    if OUTPUT_BIAS[0] not in loaded.state:
        module.model.remove_token_head()
    return module


def save_esm2(module: nn.Module, directory: str | Path, *, overwrite: bool = False) -> None:
    """Save a model so that ``transformers.EsmForMaskedLM.from_pretrained(directory)`` opens it.

    Args:
        module: An :class:`ESM2MaskedLM` or :class:`ESM2Model`.
        directory: Where to; appears whole or not at all.
        overwrite: Replace an existing folder.

    Raises:
        ConfigError: The module is no ESM-2 of ours.
        DataFileError: The folder exists already or cannot be written.
    """
    model = module.model if isinstance(module, ESM2MaskedLM) else module
    if not isinstance(model, ESM2Model):
        raise ConfigError(f"save_esm2 got a {type(module).__name__}, expected an ESM2MaskedLM or ESM2Model.")
    assert isinstance(model.bert_config, ESM2Config)
    save_checkpoint(directory, model.bert_config, model.state_dict(), ESM2Layout(), overwrite=overwrite)
