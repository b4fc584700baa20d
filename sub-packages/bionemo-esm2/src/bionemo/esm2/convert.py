# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Convert an ESM-2 from any form to any form; the job of ``convert_esm2``."""

import logging
from pathlib import Path
from typing import Any

from bionemo.core.errors import CheckpointError, DataFileError
from bionemo.esm2.convert_config import ConvertESM2Config
from bionemo.esm2.model.fair_esm import REGRESSION_ENDING, save_fair_esm
from bionemo.esm2.model.hf_layout import OUTPUT_BIAS, VOCAB_SIZE, ESM2Layout
from bionemo.esm2.model.nemo_form import ESM2NemoForm
from bionemo.llm.checkpoints.convert import cast_weights, log_left_out, write_hf, write_nemo2, write_shards
from bionemo.llm.checkpoints.forms import load_any_form
from bionemo.llm.checkpoints.hf_directory import LoadedModel
from bionemo.llm.checkpoints.model_source import locate_model


logger = logging.getLogger(__name__)


def convert_esm2(config: ConvertESM2Config) -> Path:
    """Convert a model.

    Args:
        config: What, where to, and in which form.

    Returns:
        The folder or file that was written.

    Raises:
        CheckpointError: There is no such model, it is damaged, or the form cannot express it.
        ParallelismError: It cannot be split over so many ranks.
        DataFileError: The output exists already or cannot be written.

    Example:
        >>> convert_esm2(ConvertESM2Config(source="esm2_t6_8M_UR50D.pt", out_path=Path("esm2")))  # doctest: +SKIP
        PosixPath('esm2')
    """
    located = locate_model(config.source)
    layout = ESM2Layout()
    loaded = load_any_form(located.path, layout)
    if config.to == "hf":
        return write_hf(located.path, loaded, layout, config)
    if config.to == "nemo2":
        return write_nemo2(located.path, loaded, layout, ESM2NemoForm(), config)
    if config.to == "megatron":
        return write_shards(located.path, loaded, layout, VOCAB_SIZE, config)
    return write_fair_esm(located.path, loaded, layout, config)


def write_fair_esm(source: Path, loaded: LoadedModel[Any], layout: ESM2Layout, config: ConvertESM2Config) -> Path:
    """Write a loaded model as fair-esm's two files.

    Raises:
        CheckpointError: fair-esm has no such model, or a weight is too large for the data type.
        DataFileError: A file exists already.
    """
    path = config.out_path
    for file in (path, path.with_name(path.stem + REGRESSION_ENDING)):
        if file.exists() and not config.overwrite:
            raise DataFileError(f"{file}: exists already. Choose another name or pass --overwrite.")
    if OUTPUT_BIAS[0] not in loaded.state:
        raise CheckpointError(f"{source}: has no masked-token head, which every fair-esm file has. Use --to hf.")
    if loaded.config.hidden_dropout or loaded.config.attention_dropout:
        logger.warning("%s: not converted: its dropout probabilities; fair-esm has no dropout", source)
    log_left_out(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = layout.tensors_to_hf(loaded.state, loaded.config)
    save_fair_esm(cast_weights(tensors, config.dtype), loaded.config, path)
    return path
