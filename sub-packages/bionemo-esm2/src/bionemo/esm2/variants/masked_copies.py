# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Questions about sequences that a masked language model answers, many of them in one packed batch.

Letters: S residues of a sequence, K masked residues of a copy, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError, DataError
from bionemo.esm2.data.tokenizer import MASK_ID, with_specials
from bionemo.esm2.embedding.embedder import cut_packs
from bionemo.esm2.model.model import ESM2MaskedLM
from bionemo.esm2.variants.masked_forward import masked_logits
from bionemo.esm2.variants.windows import WINDOW_TOKENS, overlapping_windows, window_start, window_weights
from bionemo.llm.model.biobert.inference import GPU_TOKENS_PER_BATCH, check_precision, inference


CPU_TOKENS_PER_BATCH = 2048
"""Copies of like shape need no large packs; smaller ones stay in the processor's cache: 10 % faster than 4,096."""


class Masked(NamedTuple):
    """Log probabilities at residues that are masked together; the answer is [K, V]."""

    residues: bytes
    places: tuple[int, ...]
    """From 0, ascending."""


class PseudoLikelihood(NamedTuple):
    """Mean of log p(residue | all others), each residue masked in a copy of its own; the answer is [1]."""

    residues: bytes


class Unmasked(NamedTuple):
    """Log probabilities at every residue with nothing masked; the answer is [S, V]."""

    residues: bytes


Question = Masked | PseudoLikelihood | Unmasked


@dataclass(frozen=True, kw_only=True)
class ForwardOptions:
    """How sequences go through the model.

    Attributes:
        window: Tokens of a window over longer sequences; 0: always whole sequences.
        max_tokens: Tokens of a packed batch; None: what suits the device.
        precision: "32-true", "bf16-mixed" or "16-mixed".
    """

    window: int = WINDOW_TOKENS
    max_tokens: int | None = None
    precision: str = "32-true"


class MaskedCopies:
    """A model that answers questions.

    Args:
        module: The model, on the device where it shall run.
        options: Windows, pack size, precision.

    Raises:
        ConfigError: There is no such precision, or the model has no head for logits.
    """

    def __init__(self, module: ESM2MaskedLM, options: ForwardOptions):
        check_precision(options.precision)
        if module.model.lm_head is None:
            raise ConfigError("variants are scored by a masked-token head, which this model lacks.")
        self.module = module.eval()
        self.options = options
        self.device = next(module.parameters()).device
        default = GPU_TOKENS_PER_BATCH if self.device.type == "cuda" else CPU_TOKENS_PER_BATCH
        self.max_tokens = options.max_tokens or default

    def num_tokens(self, question: Question) -> int:
        """Tokens that go through the model to answer a question."""
        length = len(question.residues) + 2
        of_one = min(length, self.options.window or length)
        if isinstance(question, PseudoLikelihood):
            return of_one * len(question.residues)
        return length if isinstance(question, Unmasked) else of_one

    def answer(self, questions: Sequence[Question]) -> list[NDArray[np.float64]]:
        """Answer questions, each as its class says.

        Raises:
            DataError: Residues that are masked together do not fit into one window.
        """
        copies = [copy for question in questions for copy in self._copies(question)]
        found = iter(self._log_probabilities(copies))
        answers: list[NDArray[np.float64]] = []
        for question in questions:
            if isinstance(question, Masked):
                answers.append(next(found))
            elif isinstance(question, PseudoLikelihood):
                scores = [next(found)[0, residue] for residue in question.residues]
                answers.append(np.array([np.mean(scores)]))
            else:
                answers.append(self._unmasked(question))
        return answers

    def _copies(self, question: Question) -> Iterator["_Copy"]:
        if isinstance(question, Unmasked):
            return
        places = [(place,) for place in range(len(question.residues))]
        for masked in [question.places] if isinstance(question, Masked) else places:
            num_tokens = len(question.residues) + 2
            first, last = masked[0] + 1, masked[-1] + 1  # the first token is special
            window = self.options.window
            if window and num_tokens > window and last - first >= window:
                raise DataError(
                    f"residues {masked[0] + 1} and {masked[-1] + 1} do not fit into one window of {window} tokens. "
                    "Score multi-mutants additively, or whole proteins with window 0."
                )
            start = window_start(first, last, num_tokens, window)
            yield _Copy(question.residues, masked, start, min(num_tokens, window or num_tokens))

    def _log_probabilities(self, copies: Sequence["_Copy"]) -> list[NDArray[np.float64]]:
        """Log probabilities [K, V] at the masked residues of each copy; packs hold copies of like shape."""
        shapes = np.array([(copy.num_tokens, len(copy.places)) for copy in copies], dtype=np.int64).reshape(-1, 2)
        order = np.lexsort((shapes[:, 1], -shapes[:, 0]))
        found: list[NDArray[np.float64]] = [np.empty(0)] * len(copies)
        for pack in cut_packs(order, shapes[order, 0], self.max_tokens):
            tokens = np.concatenate([copies[place].tokens() for place in pack])
            with inference(self.device, self.options.precision):
                logits = masked_logits(self.module.model, tokens, shapes[pack, 0])
                values = logits.double().log_softmax(-1).cpu().numpy()
            ends = np.cumsum(shapes[pack, 1])
            for place, part in zip(pack, np.split(values, ends[:-1]), strict=True):
                found[place] = part
        return found

    def _unmasked(self, question: Unmasked) -> NDArray[np.float64]:
        tokens = _tokens_of(question.residues)
        window = self.options.window or len(tokens)
        sums = np.zeros((len(tokens), self.module.model.vocab_size))
        weights = np.zeros((len(tokens), 1))
        for start in overlapping_windows(len(tokens), self.options.window):
            part = torch.from_numpy(tokens[start : start + window].astype(np.int64)).to(self.device)
            with inference(self.device, self.options.precision):
                logits = self.module(part.unsqueeze(0), torch.ones_like(part).unsqueeze(0)).token_logits[0]
                values = logits.double().log_softmax(-1).cpu().numpy()
            weight = window_weights(start, len(tokens), self.options.window)[:, None]
            sums[start : start + window] += weight * values
            weights[start : start + window] += weight
        return (sums / weights)[1:-1]


class _Copy(NamedTuple):
    """A window of a sequence, some residues of which are masked."""

    residues: bytes
    places: tuple[int, ...]
    start: int
    """First token of the window, special tokens counted."""
    num_tokens: int

    def tokens(self) -> NDArray[np.uint8]:
        tokens = _tokens_of(self.residues)[self.start : self.start + self.num_tokens].copy()
        tokens[[place + 1 - self.start for place in self.places]] = MASK_ID
        return tokens


def _tokens_of(residues: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(with_specials(residues), dtype=np.uint8)
