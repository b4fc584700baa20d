# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of variants from answers of a masked language model; a higher score is a fitter protein.

- masked-marginal: the sum of log p(mutant) - log p(wild type) over the replaced residues of the wild type, each masked
  in turn (additive) or all of a variant together (joint).
- wild-type-marginal: the same sum with nothing masked.
- pseudo-perplexity: S times the difference of the log pseudo-perplexities of wild type and variant, S the residues of
  the wild type; the log pseudo-perplexity of a sequence is its mean of -log p(residue | all others). Of substitutions
  this is the sum of log p over the variant minus that over the wild type. Variants whose length changes are always
  scored so.

Sources: Meier et al. 2021 (masked and wild-type marginals, pseudo-likelihood); Brandes et al. 2023 (variants that
change the length).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError
from bionemo.esm2.data.fasta_records import encode_residues
from bionemo.esm2.variants.masked_copies import Masked, PseudoLikelihood, Question, Unmasked
from bionemo.esm2.variants.variant_table import VariantRow
from bionemo.esm2.variants.wild_types import Substitution, WildType


Protocol = Literal["masked-marginal", "wild-type-marginal", "pseudo-perplexity"]
MultiMutants = Literal["additive", "joint"]
STANDARD_RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """How variants are scored.

    Attributes:
        protocol: See above.
        multi_mutants: How variants of several substitutions are scored by masked marginals.

    Raises:
        ConfigError: Residues cannot be masked jointly where none is masked.
    """

    protocol: Protocol = "masked-marginal"
    multi_mutants: MultiMutants = "additive"

    def __post_init__(self) -> None:
        """Check the combination."""
        if self.multi_mutants == "joint" and self.protocol != "masked-marginal":
            raise ConfigError(
                f"--multi-mutants joint masks residues together, --protocol {self.protocol} does not mask residues of "
                "the wild type. Leave one of them out."
            )

    def of(self, variant: VariantRow) -> str:
        """Name the way in which one variant is scored, as the results record it."""
        if self.protocol == "pseudo-perplexity" or variant.substitutions is None:
            return "pseudo-perplexity"
        if len(variant.substitutions) < 2:
            return self.protocol
        return f"{self.protocol} ({self.multi_mutants})"


class ScoredVariant(NamedTuple):
    """One variant and its score."""

    variant: VariantRow
    protocol: str
    score: float


class VariantScorer:
    """Variants, the questions that they need answered, and their scores.

    Args:
        variants: In the order of the results.
        options: How to score them.
    """

    def __init__(self, variants: Sequence[VariantRow], options: ScoreOptions):
        self.variants = variants
        self.options = options
        self._encoded: dict[str, bytes] = {}
        self._needed = [list(self._questions_of(variant)) for variant in variants]
        self.questions: list[Question] = sorted(
            {question for needed in self._needed for question in needed},
            key=lambda question: (type(question).__name__, question),
        )
        """Each once."""

    def scores(self, answers: Sequence[NDArray[np.float64]]) -> Iterator[ScoredVariant]:
        """Score the variants.

        Args:
            answers: Of `questions`, see `MaskedCopies.answer`.
        """
        answer_of: Mapping[Question, NDArray[np.float64]] = dict(zip(self.questions, answers, strict=True))
        for variant, needed in zip(self.variants, self._needed, strict=True):
            protocol = self.options.of(variant)
            found = [answer_of[question] for question in needed]
            if protocol == "pseudo-perplexity":
                score = len(variant.wild_type.sequence) * float(found[1][0] - found[0][0])
            else:
                assert variant.substitutions is not None
                rows = self._rows(variant, found)
                score = sum(
                    float(row[self._id(each.mutant)] - row[self._id(each.wild_type)])
                    for row, each in zip(rows, variant.substitutions, strict=True)
                )
            yield ScoredVariant(variant, protocol, score)

    def _rows(self, variant: VariantRow, found: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """Log probabilities at each substitution."""
        assert variant.substitutions is not None
        if self.options.protocol == "wild-type-marginal":
            return [found[0][each.place] for each in variant.substitutions]
        return list(found[0]) if self.options.multi_mutants == "joint" and found else [rows[0] for rows in found]

    def _questions_of(self, variant: VariantRow) -> Iterator[Question]:
        wild_type = self._encode(variant.wild_type.sequence)
        if self.options.of(variant) == "pseudo-perplexity":
            yield PseudoLikelihood(wild_type)
            yield PseudoLikelihood(self._encode(variant.sequence))
            return
        assert variant.substitutions is not None
        places = tuple(each.place for each in variant.substitutions)
        if not places:
            return
        if self.options.protocol == "wild-type-marginal":
            yield Unmasked(wild_type)
        elif self.options.multi_mutants == "joint":
            yield Masked(wild_type, places)
        else:
            yield from (Masked(wild_type, (place,)) for place in places)

    def _encode(self, sequence: str) -> bytes:
        if sequence not in self._encoded:
            self._encoded[sequence] = encode_residues("variant", sequence, "error")
        return self._encoded[sequence]

    def _id(self, letter: str) -> int:
        return self._encode(letter)[0]


def scan(wild_type: WildType, *, offset: int = 0, first_row: int = 0) -> list[VariantRow]:
    """Return all single substitutions of a protein by another of the 20 standard residues.

    Args:
        wild_type: The protein; residues of the linker stay.
        offset: Written positions are counted from ``1 - offset`` in each chain.
        first_row: Number of the first.

    Raises:
        ConfigError: Positions below 1 would have to be written.
    """
    if offset > 0:
        raise ConfigError(f"--offset {offset}: a scan would write positions below 1. Give 0 or less.")
    variants: list[VariantRow] = []
    is_complex = len(wild_type.chains) > 1
    for chain, (chain_id, residues) in enumerate(zip(wild_type.chain_ids, wild_type.chains, strict=True)):
        start = wild_type.chain_start(chain)
        for place, letter in enumerate(residues, start):
            for new in STANDARD_RESIDUES:
                if new == letter:
                    continue
                text = f"{letter}{place - start + 1 - offset}{new}"
                substitutions = (Substitution(place, letter, new),)
                name = chain_id if is_complex else ""
                row = first_row + len(variants)
                variants.append(VariantRow(row, wild_type, name, text, substitutions, None, None))
    return variants
