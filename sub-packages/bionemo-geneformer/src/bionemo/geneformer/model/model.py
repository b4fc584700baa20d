# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Geneformer as users call it, on the BioBERT encoder of bionemo-llm."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from bionemo.core.errors import ConfigError
from bionemo.geneformer.model.config import GeneformerConfig
from bionemo.llm.model.biobert.model import BertOutput, MegatronBioBertModel


if TYPE_CHECKING:
    from bionemo.geneformer.data.dictionaries import Dictionaries


__all__ = ["GeneformerMaskedLM", "GeneformerModel"]

GeneformerModel = MegatronBioBertModel


class GeneformerMaskedLM(nn.Module):
    """Geneformer on padded batches of cells: batch-first logits over the vocabulary.

    For packed batches call ``module.model.forward_packed``.

    Args:
        model: The encoder with its head; ``.model`` afterwards.
        dictionaries: The vocabulary that it was trained with and what belongs to it, where known; they are saved and
            loaded with it.
    """

    def __init__(self, model: MegatronBioBertModel, dictionaries: "Dictionaries | None" = None) -> None:
        super().__init__()
        self.model = model
        self.dictionaries = dictionaries

    @property
    def config(self) -> GeneformerConfig:
        """Architecture of the model."""
        assert isinstance(self.model.bert_config, GeneformerConfig)
        return self.model.bert_config

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, output_hidden_states: bool = False
    ) -> BertOutput:
        """Predict tokens.

        Args:
            input_ids: [B, S] int64.
            attention_mask: [B, S], non-zero at real tokens; default: all but the pad token.
            output_hidden_states: Also return the embedding and every block's output.

        Returns:
            ``token_logits`` [B, S, V] and ``hidden_states``: None, or L + 1 tensors [B, S, H]. Padding is zero.

        Raises:
            ConfigError: It is the encoder of a fine-tuned model, which has no masked-token head.
        """
        if self.model.lm_head is None:
            raise ConfigError(
                "this encoder of a fine-tuned model has no masked-token head. Use "
                "module.model.forward_packed(..., skip_logits=True), or load_finetuned for its own head."
            )
        return self.model.forward_padded(input_ids, attention_mask, output_hidden_states=output_hidden_states)
