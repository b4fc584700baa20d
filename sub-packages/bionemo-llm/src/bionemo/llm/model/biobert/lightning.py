# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible training of a BioBERT model on padded batches: `biobert_lightning_module` and its steps.

Packed batches are accepted too; the model packed batches padded ones at its door, so padding costs nothing.
"""

from collections.abc import Callable, Iterator
from typing import Any, NotRequired, Protocol, TypedDict

import torch
from torch import Tensor, nn

from bionemo.core.errors import DataError
from bionemo.llm.lightning import BionemoLightningModule, packed_forward_step
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.training.optimizer import OptimizerConfig, build_optimizer


__all__ = [
    "BertBatch",
    "BertModel",
    "BioBertLightningModule",
    "PackedSequences",
    "SequenceBatch",
    "bert_default_optimizer",
    "bert_forward_step",
    "biobert_data_step",
    "biobert_lightning_module",
    "get_packed_seq_params",
]

MODEL_KEYS = ("text", "attention_mask", "labels", "loss_mask", "types", "is_random")


class BertModel(Protocol):
    """A model of padded token ids."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Return `token_logits` [S, B, V]."""


class BertBatch(TypedDict):
    """A padded batch: `text` [B, S] int64 and `attention_mask` [B, S]."""

    text: Tensor
    attention_mask: Tensor


class SequenceBatch(TypedDict):
    """Where sequences lie in a packed batch, in the BioNeMo 2 compatible form.

    `cu_seqlens` [1, n] int32 ends in -1 padding from `cu_seqlens_argmin` on.
    """

    cu_seqlens: Tensor
    cu_seqlens_argmin: NotRequired[Tensor]
    max_seqlen: NotRequired[Tensor]


class PackedSequences(TypedDict):
    """`cu_seqlens` [B + 1] int32 without padding, and the longest length, as `forward_packed` takes them."""

    cu_seqlens: Tensor
    max_seqlen: int


def biobert_data_step(dataloader_iter: Iterator[Any]) -> dict[str, Any]:
    """Take the next batch.

    Args:
        dataloader_iter: Gives batches, or tuples whose first entry is one.

    Returns:
        The keys that the model and the loss read; a packed batch unchanged.
    """
    batch = next(dataloader_iter)
    if isinstance(batch, tuple):
        batch = batch[0]
    if "cu_seqlens" in batch:
        return dict(batch)
    return {key: batch[key] for key in MODEL_KEYS if key in batch}


def bert_forward_step(model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Run one batch.

    Args:
        model: A BioBERT model.
        batch: Padded (`text`, `attention_mask`) or packed (`PackedBatch`).

    Returns:
        `token_logits` [S, B, V], or for a packed batch those of the labeled tokens and their labels.
    """
    if "cu_seqlens" in batch:
        return packed_forward_step(model, batch)
    output: dict[str, Tensor] = model(input_ids=batch["text"], attention_mask=batch["attention_mask"])
    return output


def get_packed_seq_params(batch: SequenceBatch) -> PackedSequences:
    """Translate the BioNeMo 2 compatible description of packed sequences.

    Args:
        batch: See `SequenceBatch`.

    Returns:
        What `MegatronBioBertModel.forward_packed` takes.

    Raises:
        DataError: No sequence is described.
    """
    cu_seqlens = batch["cu_seqlens"].reshape(-1)
    argmin = batch.get("cu_seqlens_argmin")
    end = int(argmin) if argmin is not None else int((cu_seqlens >= 0).sum())
    cu_seqlens = cu_seqlens[:end].to(torch.int32)
    if len(cu_seqlens) < 2:
        raise DataError(f"cu_seqlens {cu_seqlens.tolist()}: describes no sequence.")
    longest = batch.get("max_seqlen")
    max_seqlen = int(cu_seqlens.diff().max()) if longest is None else int(longest)
    return {"cu_seqlens": cu_seqlens, "max_seqlen": max_seqlen}


def bert_default_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """AdamW with learning rate 1e-4 and weight decay 0.01."""
    return build_optimizer(model, OptimizerConfig(lr=1e-4, beta2=0.999))


def biobert_lightning_module(
    config: BioBertConfig,
    optimizer: OptimizerConfig | None = None,
    tokenizer: Any = None,
    data_step: Callable[..., Any] = biobert_data_step,
    forward_step: Callable[[nn.Module, Any], dict[str, Tensor]] = bert_forward_step,
    model_transform: Callable[[nn.Module], nn.Module] | None = None,
    **kwargs: Any,
) -> BionemoLightningModule:
    """Build the module that trains a BioBERT model.

    Args:
        config: The architecture; its `configure_model` gets the tokenizer.
        optimizer: AdamW and its schedule.
        tokenizer: Vocabulary size and special ids.
        data_step: Takes the next batch, on training engines that draw batches themselves.
        forward_step: Runs one batch.
        model_transform: Applied once to the built model.
        kwargs: Further arguments of `BionemoLightningModule`.

    Returns:
        The module; the model is built by its `configure_model`.
    """
    return BionemoLightningModule(
        config, forward_step, data_step, optimizer, model_transform, tokenizer=tokenizer, **kwargs
    )


def BioBertLightningModule(
    *args: Any,
    data_step_function: Any = biobert_data_step,
    forward_step_function: Any = bert_forward_step,
    **kwargs: Any,
) -> BionemoLightningModule:
    """Build the module under its deprecated name and argument names."""
    kwargs |= {"data_step": data_step_function, "forward_step": forward_step_function}
    return biobert_lightning_module(*args, **kwargs)
