# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Contacts of proteins by the method that a model allows.

Letters: S residues.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError
from bionemo.esm2.contacts.attention import attention_contacts, has_trained_contact_head
from bionemo.esm2.contacts.jacobian import categorical_jacobian, jacobian_couplings
from bionemo.esm2.model.model import ESM2MaskedLM
from bionemo.llm.model.biobert.inference import CPU_TOKENS_PER_BATCH, GPU_TOKENS_PER_BATCH, check_precision, inference


ContactMethod = Literal["auto", "attention", "jacobian"]


class ContactPredictor:
    """A model that predicts contacts.

    Args:
        module: The model, on the device where it shall run.
        method: ``attention``: probabilities; ``jacobian``: couplings without a scale; ``auto``: the first if the model
            has a trained contact head. ``method`` afterwards, without ``auto``.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        max_tokens: Tokens of a packed batch for the Jacobian; None: what suits the device.

    Raises:
        ConfigError: The model lacks the head that the method needs, or there is no such precision.
    """

    def __init__(
        self,
        module: ESM2MaskedLM,
        method: ContactMethod = "auto",
        *,
        precision: str = "32-true",
        max_tokens: int | None = None,
    ) -> None:
        check_precision(precision)
        is_trained = has_trained_contact_head(module.model)
        if method == "attention" and not is_trained:
            raise ConfigError(
                "the model has no trained contact head. Use the categorical Jacobian: --method jacobian."
            )
        self.method: Literal["attention", "jacobian"] = (
            "attention" if is_trained and method != "jacobian" else "jacobian"
        )
        if self.method == "jacobian" and module.model.lm_head is None:
            raise ConfigError("the categorical Jacobian needs a masked-token head, which this model lacks.")
        self.module = module.eval()
        self.device = next(module.parameters()).device
        default = GPU_TOKENS_PER_BATCH if self.device.type == "cuda" else CPU_TOKENS_PER_BATCH
        self.max_tokens = max_tokens or default
        self.precision = precision

    def predict(self, residues: bytes) -> NDArray[np.float32]:
        """Predict the contacts of one protein.

        Args:
            residues: Token ids of S residues, one byte each, without special tokens.

        Returns:
            [S, S], symmetric.
        """
        model = self.module.model
        with inference(self.device, self.precision):
            if self.method == "attention":
                found: NDArray[np.float32] = attention_contacts(model, residues).cpu().numpy()
                return found
            return jacobian_couplings(categorical_jacobian(model, residues, self.max_tokens))
