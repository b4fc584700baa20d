# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A vocabulary that grows from the labels it is shown: one id for each character or each whole label."""

from collections.abc import Iterable, Sequence

from bionemo.core.errors import DataError


class Label2IDTokenizer:
    """Labels to ids and back, ids counted in the order in which labels were first seen.

    A sample is a text, of which each character is a label (one per residue, say), or a list of whole labels.
    """

    def __init__(self) -> None:
        self.vocab: dict[str, int] = {}
        self.decode_vocab: dict[int, str] = {}

    @property
    def vocab_size(self) -> int:
        """Labels known."""
        return len(self.vocab)

    def build_vocab(self, strings: Iterable[str | Sequence[str]]) -> "Label2IDTokenizer":
        """Add the labels of samples; those that are known keep their ids.

        Args:
            strings: Samples.

        Returns:
            This tokenizer.
        """
        for string in strings:
            for token in self.text_to_tokens(string):
                if token not in self.vocab:
                    self.decode_vocab[len(self.vocab)] = token
                    self.vocab[token] = len(self.vocab)
        return self

    def text_to_tokens(self, text: str | Sequence[str]) -> list[str]:
        """The labels of a sample."""
        return list(text)

    def tokens_to_ids(self, tokens: Sequence[str]) -> list[int]:
        """Ids of labels.

        Raises:
            DataError: A label was never shown to `build_vocab`.
        """
        for token in tokens:
            if token not in self.vocab:
                raise DataError(f"Do not recognize token {token!r}. Known are {sorted(self.vocab)}; call build_vocab.")
        return [self.vocab[token] for token in tokens]

    def text_to_ids(self, text: str | Sequence[str]) -> list[int]:
        """Ids of the labels of a sample."""
        return self.tokens_to_ids(self.text_to_tokens(text))

    def ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """Labels of ids.

        Raises:
            DataError: An id belongs to no label.
        """
        labels = []
        for label_id in ids:
            if int(label_id) not in self.decode_vocab:
                raise DataError(f"Do not recognize ID {int(label_id)}. Ids go from 0 to {self.vocab_size - 1}.")
            labels.append(self.decode_vocab[int(label_id)])
        return labels

    def tokens_to_text(self, tokens: Sequence[str]) -> str:
        """Labels joined."""
        return "".join(tokens)

    def ids_to_text(self, ids: Iterable[int]) -> str:
        """Labels of ids, joined."""
        return self.tokens_to_text(self.ids_to_tokens(ids))
