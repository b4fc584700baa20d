# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Heads for fine-tuning: a class or a value for each cell, or a class for each gene of a cell.

Letters: T tokens of a pack, B cells (rounded up), N real cells, H hidden, C classes, S padded length.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bionemo.core.errors import ConfigError
from bionemo.geneformer.model.config import GeneformerConfig
from bionemo.llm.data.packing import pack_padded, unpack_to_padded
from bionemo.llm.model.biobert.embedding import sequence_of_each_token
from bionemo.llm.model.biobert.model import MegatronBioBertModel
from bionemo.llm.model.plain_layers import init_normal


if TYPE_CHECKING:
    from bionemo.geneformer.data.dictionaries import Dictionaries


TASKS = ("cell-classification", "gene-classification", "regression")
POOLINGS = ("first", "mean")


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """A head, as plain values that are saved beside the model.

    Attributes:
        task: One of ``TASKS``.
        classes: Names of the classes in the order of the outputs; empty for a regression.
        pooling: What stands for a cell: its "first" token, as transformers' classes have it, or the "mean" of its
            genes. Of no meaning for genes.
        label_column: Column that the labels were in.
        dropout: Before the last layer, in training.
    """

    task: str
    classes: tuple[str, ...] = ()
    pooling: str = "first"
    label_column: str = ""
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what describes no head.

        Raises:
            ConfigError: An unknown name, or classes that do not fit the task.
        """
        if self.task not in TASKS:
            raise ConfigError(f"task {self.task}: not one of {', '.join(TASKS)}.")
        if self.pooling not in POOLINGS:
            raise ConfigError(f"pooling {self.pooling}: not one of {', '.join(POOLINGS)}.")
        if self.is_regression and self.classes:
            raise ConfigError("a regression has no classes.")
        if not self.is_regression and len(set(self.classes)) < 2:
            raise ConfigError(f"task {self.task}: needs at least two classes, found {list(self.classes)}.")

    @property
    def is_regression(self) -> bool:
        """Whether the output is a value."""
        return self.task == "regression"

    @property
    def is_per_cell(self) -> bool:
        """Whether a cell has one output, rather than each of its tokens."""
        return self.task != "gene-classification"

    @property
    def num_outputs(self) -> int:
        """Classes, or one value."""
        return 1 if self.is_regression else len(self.classes)


class Head(nn.Module):
    """Dense layer and tanh on a pooled cell, then dropout and the output layer; for genes the latter two alone.

    Args:
        config: What it predicts.
        hidden_size: Hidden size of the encoder.
        std: Of the random weights.
    """

    def __init__(self, config: HeadConfig, hidden_size: int, std: float) -> None:
        super().__init__()
        self.config = config
        self.pooler: nn.Module | None = nn.Linear(hidden_size, hidden_size) if config.is_per_cell else None
        self.classifier = nn.Linear(hidden_size, config.num_outputs)
        for layer in (self.pooler, self.classifier):
            if layer is not None:
                init_normal(layer.weight, std)
                nn.init.zeros_(layer.bias)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Predict [N, C] from [N, H]."""
        if self.pooler is not None:
            hidden_states = torch.tanh(self.pooler(hidden_states))
        outputs: Tensor = self.classifier(F.dropout(hidden_states, self.config.dropout, self.training))
        return outputs


class GeneformerWithHead(nn.Module):
    """A Geneformer that predicts labels.

    Args:
        model: The encoder; ``.model`` afterwards. Its masked-token head is taken off.
        head_config: The head.
        dictionaries: The vocabulary that the model reads, and what belongs to it.
    """

    def __init__(
        self, model: MegatronBioBertModel, head_config: HeadConfig, dictionaries: "Dictionaries | None" = None
    ) -> None:
        super().__init__()
        self.model = model
        self.dictionaries = dictionaries
        self.head = Head(head_config, model.bert_config.hidden_size, model.bert_config.init_method_std)
        model.remove_token_head()

    @property
    def config(self) -> GeneformerConfig:
        """Architecture of the encoder."""
        assert isinstance(self.model.bert_config, GeneformerConfig)
        return self.model.bert_config

    @property
    def head_config(self) -> HeadConfig:
        """What is predicted."""
        return self.head.config

    def units_of_sharding(self) -> list[nn.Module]:
        """Modules that sharded ranks gather one at a time; the rest, with the head, is gathered as one more."""
        return self.model.units_of_sharding()

    def forward_packed(self, batch: Any) -> Tensor:
        """Predict for a packed batch.

        Args:
            batch: A ``PackedBatch``.

        Returns:
            [N, C] for cells, [T, C] for genes, T being the tokens without the pack's tail.
        """
        used = slice(0, batch["num_tokens"])
        input_ids, cu_seqlens = batch["input_ids"][used], batch["cu_seqlens"]
        hidden_TH = self.model.forward_packed(
            input_ids,
            batch["position_ids"][used],
            cu_seqlens,
            batch["max_seqlen"],
            num_tokens=batch["num_tokens"],
            skip_logits=True,
        ).hidden_states
        if self.head_config.is_per_cell:
            num_cells = batch["num_sequences"]
            if self.head_config.pooling == "first":
                hidden_TH = hidden_TH[cu_seqlens[:num_cells].long()]
            else:
                is_gene = input_ids >= len(self.config.tokens.special_tokens)
                hidden_TH = mean_of_genes(hidden_TH, is_gene, cu_seqlens)[:num_cells]
        outputs: Tensor = self.head(hidden_TH)
        return outputs

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Predict for a padded batch.

        Args:
            input_ids: [B, S] int64.
            attention_mask: [B, S], non-zero at real tokens; default: all but the pad token.

        Returns:
            [B, C] for cells, [B, S, C] for genes with zeros at padding.
        """
        if attention_mask is None:
            attention_mask = input_ids != self.model.pad_token_id
        packed = pack_padded(input_ids, attention_mask)
        outputs = self.forward_packed(packed)
        if self.head_config.is_per_cell:
            return outputs
        return unpack_to_padded(outputs, packed["cu_seqlens"], *input_ids.shape, attention_mask=attention_mask)


def mean_of_genes(hidden_TH: Tensor, is_gene_T: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Average each cell over its genes, in float32; [B, H], zero for a cell without genes."""
    cell_of_T = sequence_of_each_token(cu_seqlens, len(is_gene_T))
    num_cells = len(cu_seqlens) - 1
    weight_T = is_gene_T.float()
    total_BH = hidden_TH.new_zeros(num_cells, hidden_TH.shape[1], dtype=torch.float32)
    total_BH = total_BH.index_add(0, cell_of_T, hidden_TH.float() * weight_T.unsqueeze(1))
    count_B = weight_T.new_zeros(num_cells).index_add(0, cell_of_T, weight_T)
    return (total_BH / count_B.clamp(min=1).unsqueeze(1)).to(hidden_TH.dtype)
