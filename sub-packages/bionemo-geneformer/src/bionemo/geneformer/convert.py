# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Convert a Geneformer from any form to another; the job of ``convert_geneformer``."""

import logging
from pathlib import Path

from bionemo.geneformer.convert_config import ConvertGeneformerConfig
from bionemo.geneformer.model.hf_layout import GeneformerLayout
from bionemo.geneformer.model.nemo_form import GeneformerNemoForm
from bionemo.geneformer.model.published_dictionaries import find_dictionaries
from bionemo.llm.checkpoints.convert import write_hf, write_nemo2, write_shards
from bionemo.llm.checkpoints.forms import load_any_form
from bionemo.llm.checkpoints.model_source import locate_model


logger = logging.getLogger(__name__)


def convert_geneformer(config: ConvertGeneformerConfig) -> Path:
    """Convert a model, with the dictionaries of its folder or repository as plain JSON beside it.

    Returns:
        The folder that was written.

    Raises:
        CheckpointError: There is no such model, it is damaged, or the form cannot express it.
        ParallelismError: It cannot be split over so many ranks.
        DataFileError: The folder exists already or cannot be written.

    Example:
        >>> source = "ctheodoris/Geneformer:Geneformer-V2-104M"
        >>> convert_geneformer(ConvertGeneformerConfig(source=source, out_path=Path("v2")))  # doctest: +SKIP
        PosixPath('v2')
    """
    located = locate_model(config.source)
    loaded = load_any_form(located.path, GeneformerLayout())
    dictionaries = find_dictionaries(located, loaded.config)
    if dictionaries is None:
        logger.warning("%s: has no dictionaries beside it, so the result has none", located.path)
    layout = GeneformerLayout(dictionaries)
    if config.to == "nemo2":
        return write_nemo2(located.path, loaded, layout, GeneformerNemoForm(), config)
    if config.to == "megatron":
        return write_shards(located.path, loaded, layout, loaded.config.vocab_size, config)
    return write_hf(located.path, loaded, layout, config)
