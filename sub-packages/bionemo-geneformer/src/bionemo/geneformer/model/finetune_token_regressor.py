# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible example of a second objective: predict from its first token how long a cell is.

Masked tokens are learned as ever; beside them a small network regresses each cell's number of tokens, as a share of
the longest that the model reads. It shows how to add a head; to predict labels use `bionemo.geneformer.model.heads`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bionemo.geneformer.model.config import GeneformerConfig
from bionemo.geneformer.model.hf_layout import SECOND_HEAD_PREFIX, GeneformerLayout
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors
from bionemo.llm.lightning import label_rows, packed_loss
from bionemo.llm.model.biobert.config import ACTIVATIONS
from bionemo.llm.model.biobert.model import MegatronBioBertModel, ModelTokenizer
from bionemo.llm.model.device_placement import Placement
from bionemo.llm.model.lora import add_lora
from bionemo.llm.model.plain_layers import init_normal


__all__ = [
    "FineTuneSeqLenBioBertConfig",
    "LoRAForGeneFormerTokenRegressor",
    "MegatronBioBertFineTuneSeqLengthModel",
    "MegatronRegressionMLPHead",
    "SequenceLengthLayout",
    "sequence_length_forward_step",
    "sequence_length_loss",
    "with_sequence_length_head",
]

HEAD_NAMES = tuple(
    f"{SECOND_HEAD_PREFIX}{layer}.{kind}" for layer in ("dense", "output") for kind in ("weight", "bias")
)


@dataclass(frozen=True, kw_only=True)
class FineTuneSeqLenBioBertConfig(GeneformerConfig):
    """A Geneformer with a head that predicts a cell's number of tokens."""

    def hf_layout(self) -> "SequenceLengthLayout":
        """How checkpoints with the head name their parameters and settings."""
        return SequenceLengthLayout()

    def model_class(self) -> type["MegatronBioBertFineTuneSeqLengthModel"]:
        """Class of the model that this configuration describes."""
        return MegatronBioBertFineTuneSeqLengthModel


def with_sequence_length_head(config: GeneformerConfig) -> FineTuneSeqLenBioBertConfig:
    """Build the configuration of the same architecture with the head."""
    return FineTuneSeqLenBioBertConfig(**{field.name: getattr(config, field.name) for field in fields(config)})


class MegatronRegressionMLPHead(nn.Module):
    """Two layers from a token's hidden state to one value.

    Args:
        config: Sizes and activation of the encoder.
    """

    def __init__(self, config: GeneformerConfig) -> None:
        super().__init__()
        assert isinstance(config.activation_func, str)
        assert config.ffn_hidden_size is not None
        self.activation = ACTIVATIONS[config.activation_func]
        self.dense = nn.Linear(config.hidden_size, config.ffn_hidden_size)
        self.output = nn.Linear(config.ffn_hidden_size, 1)
        for layer in (self.dense, self.output):
            init_normal(layer.weight, config.init_method_std)
            nn.init.zeros_(layer.bias)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Predict [B] from [B, H]."""
        values: Tensor = self.output(self.activation(self.dense(hidden_states))).squeeze(1)
        return values


class MegatronBioBertFineTuneSeqLengthModel(MegatronBioBertModel):
    """The encoder with its masked-token head and the regression; whole, on one device.

    Args:
        config: The architecture.
        tokenizer: Its vocabulary size and special ids.
        placement: As of the base class.
    """

    def __init__(
        self, config: FineTuneSeqLenBioBertConfig, tokenizer: ModelTokenizer, placement: Placement | None = None
    ) -> None:
        super().__init__(config, tokenizer, placement)
        self.regression_head = MegatronRegressionMLPHead(config)

    def units_of_sharding(self) -> list[nn.Module]:
        """Return the encoder's layers and the head, which is computed outside the model's forward pass."""
        return [*super().units_of_sharding(), self.regression_head]


class SequenceLengthLayout(GeneformerLayout):
    """Names of the model in Hugging Face's files: a masked-language model, and four tensors that others ignore."""

    def tensors_to_hf(self, state: Mapping[str, Tensor], config: GeneformerConfig) -> dict[str, Tensor]:
        """Rename a state dict; the head keeps its names."""
        return super().tensors_to_hf(state, config) | {name: state[name] for name in HEAD_NAMES}

    def tensors_from_hf(self, tensors: Mapping[str, Tensor], config: GeneformerConfig) -> LazyTensors:
        """Rename a file's tensors; one without the head, as pretraining leaves it, gets an untrained one."""
        state = super().tensors_from_hf(tensors, config)
        if HEAD_NAMES[0] in tensors:
            return state | {name: tensors[name].float() for name in HEAD_NAMES}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            head = MegatronRegressionMLPHead(config)
        return state | {f"{SECOND_HEAD_PREFIX}{name}": tensor for name, tensor in head.state_dict().items()}

    def config_from_hf(self, values: Mapping[str, Any], source: str) -> FineTuneSeqLenBioBertConfig:
        """Read config.json of any Geneformer."""
        return with_sequence_length_head(super().config_from_hf(values, source))


def sequence_length_forward_step(module: nn.Module, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Run a packed batch.

    Args:
        module: A `MegatronBioBertFineTuneSeqLengthModel`.
        batch: A ``PackedBatch``.

    Returns:
        ``token_logits`` [M, V] and ``row_labels`` [M] of the labeled tokens; ``lengths`` and ``predicted_lengths``
        [B] as shares of the longest cell.
    """
    assert isinstance(module, MegatronBioBertFineTuneSeqLengthModel)
    used = slice(0, batch["num_tokens"])
    labels = batch["labels"][used]
    rows = label_rows(labels)
    output = module.forward_packed(
        batch["input_ids"][used],
        batch["position_ids"][used],
        batch["cu_seqlens"],
        batch["max_seqlen"],
        num_tokens=batch["num_tokens"],
        logit_rows=rows,
    )
    assert output.token_logits is not None
    num_cells = batch["num_sequences"]
    first = batch["cu_seqlens"][:num_cells].long()
    lengths = batch["cu_seqlens"].diff()[:num_cells].float() / module.bert_config.seq_length
    return {
        "token_logits": output.token_logits,
        "row_labels": labels[rows],
        "lengths": lengths,
        "predicted_lengths": module.regression_head(output.hidden_states[first]).float(),
    }


def sequence_length_loss(batch: Mapping[str, Any], forward_out: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the masked tokens plus the mean squared error of the pack's lengths, and the labeled tokens.

    The error is weighted by the labeled tokens: a step's loss is their mean cross-entropy plus the mean error.
    """
    loss_sum, count = packed_loss(batch, forward_out)
    error = F.mse_loss(forward_out["predicted_lengths"], forward_out["lengths"])
    return loss_sum + count * error, count


class LoRAForGeneFormerTokenRegressor:
    """Freezes the encoder, puts low-rank adapters on it, and leaves the regression head to be trained.

    Args:
        rank: Inner dimension of the adapters.
        alpha: Their scale; default: the rank.
    """

    def __init__(self, rank: int = 8, alpha: float | None = None) -> None:
        self.rank, self.alpha = rank, alpha

    def __call__(self, model: nn.Module) -> nn.Module:
        """Change the model in place and give it."""
        add_lora(model, rank=self.rank, alpha=self.alpha)
        for name, parameter in model.named_parameters():
            if name.startswith(SECOND_HEAD_PREFIX):
                parameter.requires_grad_(True)
        return model
