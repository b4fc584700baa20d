# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""One packed batch through one rank's part of the model, and the loss where the vocabulary is shared.

Letters: M masked positions, V this rank's share of the vocabulary.
"""

from typing import Any

import torch
from torch import Tensor

from bionemo.llm.lightning import Batch, label_rows
from bionemo.llm.model.biobert.model import MegatronBioBertModel
from bionemo.llm.model.loss import unreduced_token_loss_fn


def place_forward_step(model: Any, batch: Batch) -> Any:
    """Run a packed batch through one rank's part of the model.

    Args:
        model: The part.
        batch: A ``PackedBatch``, on every rank the whole of it.

    Returns:
        On the last stage ``token_logits`` [M, V] of this rank's labeled tokens and share of the vocabulary, and
        ``row_labels`` [M]; on others the hidden states to send on.
    """
    assert isinstance(model, MegatronBioBertModel)
    used = used_tokens(batch, model)
    output = model.forward_packed(
        batch["input_ids"][used],
        batch["position_ids"][used],
        batch["cu_seqlens"],
        batch["max_seqlen"],
        num_tokens=batch["num_tokens"],
        logit_rows=batch.get("label_rows"),
    )
    if not model.post_process:
        return output.hidden_states
    return {"token_logits": output.token_logits, "row_labels": batch["row_labels"]}


def used_tokens(batch: Batch, model: MegatronBioBertModel) -> slice:
    """Tokens of a packed batch that are computed: the tail too where it is needed, else without."""
    return slice(0, len(batch["input_ids"]) if model.placement.needs_whole_packs else batch["num_tokens"])


def find_label_rows(batch: Batch, model: MegatronBioBertModel) -> dict[str, Tensor]:
    """Find this rank's labeled tokens while the batch is on the host, so that the device is not waited for."""
    labels = batch["labels"][used_tokens(batch, model)]
    labels = labels[model.placement.own_tokens(len(labels))]
    rows = label_rows(labels)
    return {"label_rows": rows, "row_labels": labels[rows]}


def vocab_parallel_loss(batch: Batch, forward_out: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Sum of the cross-entropy over labeled tokens whose logits are shared by the tensor-parallel ranks."""
    logits, labels = forward_out["token_logits"], forward_out["row_labels"]
    losses = unreduced_token_loss_fn(logits.unsqueeze(1), labels.unsqueeze(0))
    return losses.sum(), torch.tensor(len(labels), device=labels.device)


def one_token_pack(batch: Batch) -> dict[str, Any]:
    """Return a packed batch of one token without a label: it fills up the last step, kernels need a token."""
    cu_seqlens = torch.ones_like(batch["cu_seqlens"])
    cu_seqlens[0] = 0
    return {"cu_seqlens": cu_seqlens, "max_seqlen": 1, "num_tokens": 1}
