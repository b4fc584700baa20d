# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Couplings of residues by the categorical Jacobian (Zhang et al. 2024): no head needs to be trained.

Every residue is replaced by each of the 20 standard ones; what that changes in the logits of every other residue is
their coupling.

Letters: S residues, A the 20 standard residues.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bionemo.esm2.contacts.correction import average_product_correction
from bionemo.esm2.data.tokenizer import with_specials
from bionemo.esm2.model.model import ESM2Model


STANDARD_IDS = range(4, 24)


def categorical_jacobian(model: ESM2Model, residues: bytes, max_tokens: int) -> Tensor:
    """Compute how each replacement changes the logits everywhere.

    Args:
        model: The model, whole on one device, in evaluation mode, with a masked-token head.
        residues: Token ids of S residues, one byte each, without special tokens.
        max_tokens: Tokens of a packed batch.

    Returns:
        [S, A, S, A] float32 on the CPU, 1,600 S S bytes: place and residue that is put there, place and residue whose
        logit changes.
    """
    num_residues, num_standard = len(residues), len(STANDARD_IDS)
    device = next(model.parameters()).device
    tokens = np.frombuffer(with_specials(residues), dtype=np.uint8)
    wild_type_SA = _logits(model, tokens[None], device)[0]
    changes = np.array([(place, new) for place in range(num_residues) for new in STANDARD_IDS])
    jacobian = torch.empty(len(changes), num_residues, num_standard)
    per_pack = max(max_tokens // len(tokens), 1)
    for start in range(0, len(changes), per_pack):
        part = changes[start : start + per_pack]
        copies = np.tile(tokens, (len(part), 1))
        copies[np.arange(len(part)), part[:, 0] + 1] = part[:, 1]
        jacobian[start : start + len(part)] = (_logits(model, copies, device) - wild_type_SA).cpu()
    return jacobian.view(num_residues, num_standard, num_residues, num_standard)


def jacobian_couplings(jacobian: Tensor) -> NDArray[np.float32]:
    """Reduce a categorical Jacobian to a coupling of each pair: center, symmetrize, norm, average product correction.

    Args:
        jacobian: [S, A, S, A]; overwritten.

    Returns:
        [S, S] float32, symmetric; larger is more coupled, there is no scale.
    """
    for axis in range(4):
        jacobian -= jacobian.mean(axis, keepdim=True)
    coupling_SS = torch.empty(len(jacobian), len(jacobian))
    for place, row_ASA in enumerate(jacobian):
        symmetric_ASA = (row_ASA + jacobian[:, :, place].permute(2, 0, 1)) / 2
        coupling_SS[place] = symmetric_ASA.square().sum((0, 2)).sqrt()
    coupling_SS.fill_diagonal_(0.0)
    corrected_SS = average_product_correction(coupling_SS)
    symmetric: NDArray[np.float32] = ((corrected_SS + corrected_SS.T) / 2).numpy()  # sums differ in their last digits
    return symmetric


def _logits(model: ESM2Model, copies: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Logits of the standard residues at each residue of copies of one length, [C, S, A]."""
    count, num_tokens = copies.shape
    output = model.forward_packed(
        torch.from_numpy(copies.reshape(-1).astype(np.int64)).to(device),
        torch.arange(num_tokens, device=device).repeat(count),
        torch.arange(0, copies.size + 1, num_tokens, dtype=torch.int32, device=device),
        num_tokens,
        num_tokens=copies.size,
    )
    assert output.token_logits is not None
    logits: Tensor = output.token_logits.float().view(count, num_tokens, -1)
    return logits[:, 1:-1, STANDARD_IDS.start : STANDARD_IDS.stop]
