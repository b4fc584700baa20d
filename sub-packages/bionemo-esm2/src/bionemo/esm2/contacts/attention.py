# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Contact probabilities by logistic regression over all attention maps (Rao et al. 2021).

Letters: T tokens, S residues, N attention heads, D head dim, H hidden.
"""

import torch
from torch import Tensor

from bionemo.esm2.contacts.correction import average_product_correction
from bionemo.esm2.data.tokenizer import CLS_ID, EOS_ID
from bionemo.esm2.model.block_parts import after_attention, query_key_value
from bionemo.esm2.model.model import ESM2Model
from bionemo.llm.model.rotary import rotate


def has_trained_contact_head(model: ESM2Model) -> bool:
    """Return whether the contact head was fitted: pretraining leaves its bias at zero, a missing head is all zero."""
    head = model.contact_head
    return head is not None and bool((head.regression.bias != 0).any()) and bool((head.regression.weight != 0).any())


def attention_contacts(model: ESM2Model, residues: bytes) -> Tensor:
    """Predict contacts of one protein.

    One head's map is in memory at a time: 4 T T bytes.

    Args:
        model: The model, whole on one device, in evaluation mode.
        residues: Token ids of S residues, one byte each, without special tokens.

    Returns:
        [S, S] float32 probabilities, symmetric.
    """
    head, rotary = model.contact_head, model.rotary_pos_emb
    assert head is not None
    assert rotary is not None
    device = next(model.parameters()).device
    input_ids = torch.tensor([CLS_ID, *residues, EOS_ID], device=device)
    num_tokens, num_residues = len(input_ids), len(residues)
    position_ids = torch.arange(num_tokens, device=device)
    cu_seqlens = torch.tensor([0, num_tokens], dtype=torch.int32, device=device)
    states_TH = model.first_states(input_ids, position_ids, cu_seqlens, num_tokens).squeeze(1)
    cos, sin = rotary(position_ids)
    weights = iter(head.regression.weight[0].float())
    logits_SS = head.regression.bias.float().expand(num_residues, num_residues).clone()
    for block in model.encoder.layers:
        query, key, value = query_key_value(block, states_TH)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        scale = block.self_attention.core_attention.softmax_scale
        contexts = []
        for query_TD, key_TD, value_TD in zip(query.unbind(1), key.unbind(1), value.unbind(1), strict=True):
            attention_TT = (scale * (query_TD.float() @ key_TD.float().mT)).softmax(-1)
            contexts.append(attention_TT.to(value_TD.dtype) @ value_TD)
            inner_SS = attention_TT[1:-1, 1:-1]
            logits_SS += next(weights) * average_product_correction(inner_SS + inner_SS.mT)
        states_TH = after_attention(block, states_TH, torch.cat(contexts, dim=-1))
    return logits_SS.sigmoid()
