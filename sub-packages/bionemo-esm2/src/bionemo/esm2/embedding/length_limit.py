# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What ``--length-policy`` does with long proteins before they reach the model; nothing is cut without a word."""

import logging
from typing import Literal

from bionemo.core.errors import DataError
from bionemo.esm2.embedding.protein_file import Protein


logger = logging.getLogger(__name__)

LengthPolicy = Literal["full", "window", "truncate", "error"]


class LengthLimit:
    """Apply a length policy to proteins as they are read; whole runs and windows are the embedder's business.

    Args:
        policy: ``truncate`` cuts, ``error`` refuses; with others every protein stays as it is.
        max_tokens: Tokens of the longest protein, special ones included.
        source: The input, for messages.
    """

    def __init__(self, policy: LengthPolicy, max_tokens: int, source: str) -> None:
        self.policy, self.max_residues, self.source = policy, max_tokens - 2, source
        self._num_cut = 0
        self._first = ""

    def __call__(self, protein: Protein) -> Protein:
        """Return the protein, cut where the policy says so.

        Raises:
            DataError: It is too long, and the policy is ``error``.
        """
        if self.policy not in ("truncate", "error") or len(protein.residues) <= self.max_residues:
            return protein
        if self.policy == "error":
            raise DataError(
                f"{self.source}: row {protein.row} ({protein.id}) has {len(protein.residues)} residues, "
                f"--max-seq-length leaves {self.max_residues}. Raise it, or give --length-policy full or window."
            )
        self._num_cut += 1
        self._first = self._first or f"row {protein.row} ({protein.id}), {len(protein.residues)} residues"
        return protein._replace(residues=protein.residues[: self.max_residues])

    def log(self) -> None:
        """Warn of how many proteins were cut."""
        if self._num_cut:
            logger.warning(
                "%s: %d proteins were cut to their first %d residues (--length-policy truncate), the first is %s",
                self.source, self._num_cut, self.max_residues, self._first,
            )  # fmt: skip
