# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What fine-tuned heads predict of cells, beside their embeddings.

Letters: B cells of a pack, C cells of a partition, K classes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bionemo.core.errors import ConfigError
from bionemo.geneformer.model.finetune_token_regressor import (
    MegatronBioBertFineTuneSeqLengthModel,
    SequenceLengthLayout,
    sequence_length_forward_step,
)
from bionemo.geneformer.model.head_layout import load_finetuned
from bionemo.geneformer.model.model import GeneformerMaskedLM
from bionemo.llm.checkpoints.hf_directory import load_state
from bionemo.llm.checkpoints.model_source import load_model
from bionemo.llm.model.biobert.model import MegatronBioBertModel, build_model


class CellHead(NamedTuple):
    """A head that predicts something of each cell."""

    module: torch.nn.Module
    """Everything that it needs, to be moved to a device."""
    predict: Callable[[Mapping[str, Any]], Tensor]
    """A packed batch to [B, outputs] float32."""
    to_columns: Callable[[NDArray[np.float32]], dict[str, NDArray[Any]]]
    """[C, outputs] to columns by name: [C] each, or [C, K]."""


def finetuned_head(checkpoint_path: Path) -> CellHead:
    """The head that ``finetune_geneformer`` trained: classes with their probabilities, or values.

    Raises:
        CheckpointError: The checkpoint has no head.
        ConfigError: The head is of genes.
    """
    module = load_finetuned(checkpoint_path)
    head = module.head_config
    if not head.is_per_cell:
        raise ConfigError(f"--predictions: {checkpoint_path} predicts classes of genes, not of cells.")

    def to_columns(outputs: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        if head.is_regression:
            return {"prediction": outputs[:, 0]}
        exponentials = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        names = np.asarray(head.classes, dtype=object)
        return {"prediction": names[outputs.argmax(axis=1)], "probabilities": probabilities}

    return CellHead(module, lambda batch: module.forward_packed(batch).float(), to_columns)


def sequence_length_head(checkpoint_path: Path) -> CellHead:
    """The demonstration head of `FineTuneSeqLenBioBertConfig`: a cell's number of tokens, told from its first one.

    Raises:
        CheckpointError: The checkpoint is no Geneformer.
    """
    loaded = load_model(checkpoint_path, SequenceLengthLayout())
    model = build_model(loaded.config, loaded.config.vocabulary, seed=0)
    assert isinstance(model, MegatronBioBertFineTuneSeqLengthModel)
    load_state(model, loaded.state, checkpoint_path)
    model.eval()

    def predict(batch: Mapping[str, Any]) -> Tensor:
        return sequence_length_forward_step(model, batch)["predicted_lengths"].unsqueeze(1)

    return CellHead(model, predict, lambda outputs: {"predicted_length": outputs[:, 0] * loaded.config.seq_length})


def masked_lm_of(module: GeneformerMaskedLM, head: CellHead | None) -> GeneformerMaskedLM:
    """Share the head's encoder, so that it is in memory once."""
    if head is None:
        return module
    encoder: MegatronBioBertModel = getattr(head.module, "model", head.module)  # type: ignore[arg-type]
    return GeneformerMaskedLM(encoder, module.dictionaries)
