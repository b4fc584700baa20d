# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The Python interface of Geneformer: build, load and save models in Hugging Face layout.

Nothing here touches torch.distributed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from bionemo.core.errors import ConfigError
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.model.config import GeneformerConfig, geneformer_config
from bionemo.geneformer.model.dictionary_files import check_vocabulary
from bionemo.geneformer.model.finetune_token_regressor import FineTuneSeqLenBioBertConfig
from bionemo.geneformer.model.head_layout import load_finetuned, save_finetuned
from bionemo.geneformer.model.heads import GeneformerWithHead, HeadConfig
from bionemo.geneformer.model.hf_layout import OUTPUT_BIAS, GeneformerLayout
from bionemo.geneformer.model.model import GeneformerMaskedLM, GeneformerModel
from bionemo.geneformer.model.published_dictionaries import find_dictionaries
from bionemo.llm.checkpoints.empty_model import build_empty
from bionemo.llm.checkpoints.forms import load_any_form
from bionemo.llm.checkpoints.hf_directory import load_state, save_checkpoint
from bionemo.llm.checkpoints.model_source import ModelSource, locate_model
from bionemo.llm.model.biobert.model import MegatronBioBertModel, build_model


__all__ = [
    "FineTuneSeqLenBioBertConfig",
    "GeneformerConfig",
    "GeneformerMaskedLM",
    "GeneformerModel",
    "GeneformerWithHead",
    "HeadConfig",
    "build_geneformer",
    "geneformer_config",
    "load_finetuned",
    "load_geneformer",
    "save_finetuned",
    "save_geneformer",
]


def build_geneformer(config: GeneformerConfig, *, seed: int = 42) -> GeneformerMaskedLM:
    """Build a model with random weights.

    Args:
        config: The architecture, for example ``geneformer_config("V1-10M")``.
        seed: The weights are a function of it.

    Returns:
        The model in float32 on the CPU.
    """
    return GeneformerMaskedLM(build_model(config, config.vocabulary, seed=seed))


def load_geneformer(source: ModelSource) -> GeneformerMaskedLM:
    """Load a Geneformer by name or from any form of checkpoint: ours, a published V1 or V2, any BERT of transformers.

    Of a fine-tuned or base model it gives the encoder: hidden states, but no logits. `load_finetuned` gives a
    fine-tuned one whole.

    Args:
        source: Folder in Hugging Face layout, run of ours, or a name on the Hugging Face Hub with optional
            ``@revision`` and ``:subfolder``.

    Returns:
        The model in float32 on the CPU, in evaluation mode, with the dictionaries of its folder or repository.

    Raises:
        CheckpointError: There is no such model, it is damaged or of another kind, or it cannot be downloaded.

    Example:
        >>> load_geneformer("ctheodoris/Geneformer:Geneformer-V2-104M").config.num_layers  # doctest: +SKIP
        12
    """
    opened = open_geneformer(source)
    module = build_empty(lambda: _build_for(opened))
    load_state(module.model, opened.state, opened.path)
    module.dictionaries = opened.dictionaries
    return module.eval()


class OpenedGeneformer(NamedTuple):
    """A Geneformer on disk.

    Attributes:
        path: Folder or file.
        config: Its architecture.
        state: Its weights, read when they are asked for.
        dictionaries: Those of its folder or repository, where there are some.
    """

    path: Path
    config: GeneformerConfig
    state: Mapping[str, Tensor]
    dictionaries: Dictionaries | None


def open_geneformer(source: ModelSource) -> OpenedGeneformer:
    """Open a Geneformer as `load_geneformer` does, without reading its weights."""
    located = locate_model(source)
    loaded = load_any_form(located.path, GeneformerLayout())
    return OpenedGeneformer(located.path, loaded.config, loaded.state, find_dictionaries(located, loaded.config))


def _build_for(opened: OpenedGeneformer) -> GeneformerMaskedLM:
    module = build_geneformer(opened.config)
    if OUTPUT_BIAS[0] not in opened.state:
        module.model.remove_token_head()
    return module


def save_geneformer(module: nn.Module, directory: str | Path, *, overwrite: bool = False) -> None:
    """Save a model so that transformers opens it: V1 and V2 as BERT, BioNeMo's as MegatronBert.

    Args:
        module: A :class:`GeneformerMaskedLM` or its ``.model``.
        directory: Where to; appears whole or not at all.
        overwrite: Replace an existing folder.

    Raises:
        ConfigError: The module is no Geneformer of ours.
        DataFileError: The folder exists already or cannot be written.
    """
    model = module.model if isinstance(module, GeneformerMaskedLM) else module
    config = model.bert_config if isinstance(model, MegatronBioBertModel) else None
    if not isinstance(config, GeneformerConfig):
        raise ConfigError(f"save_geneformer got a {type(module).__name__}, expected a GeneformerMaskedLM.")
    dictionaries = module.dictionaries if isinstance(module, GeneformerMaskedLM) else None
    if dictionaries is not None:
        check_vocabulary(dictionaries.tokenizer, config, "save_geneformer")
    save_checkpoint(directory, config, model.state_dict(), GeneformerLayout(dictionaries), overwrite=overwrite)
