# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The ESM-2 vocabulary of 33 tokens, and text to ids in three ways to treat what it does not hold.

Ids are those of the published models (Lin et al. 2023) and of `transformers.EsmTokenizer`. The vocabulary is part of
this file: nothing is downloaded, and neither torch nor transformers is imported.
"""

import functools
import os
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError, DataError
from bionemo.core.files import write_json, write_text


VOCABULARY: tuple[str, ...] = (
    *("<cls>", "<pad>", "<eos>", "<unk>"),
    *"LAGVSERTIDPKQNFYMHWCXBUZO",
    *(".", "-", "<null_1>", "<mask>"),
)
TOKEN_TO_ID: dict[str, int] = {token: token_id for token_id, token in enumerate(VOCABULARY)}
CLS_ID, PAD_ID, EOS_ID, UNK_ID, MASK_ID = (TOKEN_TO_ID[f"<{name}>"] for name in ("cls", "pad", "eos", "unk", "mask"))
SPECIAL_IDS: tuple[int, ...] = (CLS_ID, PAD_ID, EOS_ID, UNK_ID, MASK_ID)
AMINO_ACID_IDS = range(TOKEN_TO_ID["L"], TOKEN_TO_ID["C"] + 1)
"""The twenty standard amino acids, 4 to 23."""
ORDINARY_IDS = range(TOKEN_TO_ID["L"], TOKEN_TO_ID["-"] + 1)
"""Everything that a sequence can hold, 4 to 30: amino acids, ambiguity codes, gap and stop point."""

NO_ID = 255
"""Entry of `BYTE_TO_ID` for a character that is no token."""
BYTE_TO_ID: NDArray[np.uint8] = np.full(256, NO_ID, dtype=np.uint8)
for _token, _token_id in TOKEN_TO_ID.items():
    if len(_token) == 1:
        BYTE_TO_ID[ord(_token)] = _token_id
BYTE_TO_ID.setflags(write=False)
_BYTE_TABLE = BYTE_TO_ID.tobytes()
_WHITE_SPACE = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"  # what str.split takes for white space in ASCII

# A named token, one character of the vocabulary, white space, or a run of anything else.
_TOKEN = "|".join(re.escape(token) for token in VOCABULARY)
_PIECES = re.compile(rf"({_TOKEN})|\s+|((?:(?!{_TOKEN})\S)+)")
_LOWER_CASE = re.compile(rf"({_TOKEN})|[a-z]+")

UnknownPolicy = Literal["error", "per_residue", "hf"]


class RandomMaskStrategy(StrEnum):
    """From which tokens masking draws its random replacements."""

    ORDINARY_TOKENS = "ordinary_tokens"
    """Ids 4 to 30: whatever a sequence can hold. The default."""

    ALL_TOKENS = "all_tokens"
    """Ids 0 to 32, special tokens included: what BioNeMo Framework 2 drew from."""

    AMINO_ACIDS_ONLY = "amino_acids_only"
    """Ids 4 to 23."""

    @property
    def token_ids(self) -> range:
        """The ids drawn from."""
        return {
            RandomMaskStrategy.ORDINARY_TOKENS: ORDINARY_IDS,
            RandomMaskStrategy.ALL_TOKENS: range(len(VOCABULARY)),
            RandomMaskStrategy.AMINO_ACIDS_ONLY: AMINO_ACID_IDS,
        }[self]


def with_specials(residues: bytes) -> bytes:
    r"""Put the token ids of a protein, one byte a residue, between ``<cls>`` and ``<eos>``.

    >>> with_specials(bytes([20, 15]))
    b'\x00\x14\x0f\x02'
    """
    return bytes([CLS_ID]) + residues + bytes([EOS_ID])


class BioNeMoESMTokenizer:
    """Text to the ids of ESM-2 and back.

    White space between residues is dropped, and a special token written out in the text (``MK<mask>A``) is that token.

    Args:
        unknown: What becomes of a character that is no token (J, ``*``, lower case, ...). ``"error"``: an error that
            names it; ``"per_residue"``: one ``<unk>`` each, so that positions stay; ``"hf"``: one ``<unk>`` for a
            whole run, as `transformers.EsmTokenizer` does, which shifts all positions after it.
        upper_case: Whether lower-case letters (soft-masked regions) are read as residues.
    """

    cls_token, pad_token, eos_token, unk_token, mask_token = (VOCABULARY[i] for i in SPECIAL_IDS)
    cls_token_id, pad_token_id, eos_token_id, unk_token_id = CLS_ID, PAD_ID, EOS_ID, UNK_ID
    vocab_size = len(VOCABULARY)

    def __init__(self, unknown: UnknownPolicy = "error", *, upper_case: bool = False):
        if unknown not in ("error", "per_residue", "hf"):
            raise ConfigError(f"unknown must be 'error', 'per_residue' or 'hf', found {unknown!r}.")
        self.unknown = unknown
        self.upper_case = upper_case

    @property
    def mask_token_id(self) -> int:
        """Mask token id."""
        return MASK_ID

    @property
    def all_special_ids(self) -> list[int]:
        """Ids that masking never selects: 0, 1, 2, 3 and 32."""
        return list(SPECIAL_IDS)

    @property
    def amino_acid_ids(self) -> range:
        """Ids of the twenty standard amino acids."""
        return AMINO_ACID_IDS

    def get_vocab(self) -> dict[str, int]:
        """Every token with its id."""
        return dict(TOKEN_TO_ID)

    def encode_array(self, sequence: str, *, add_special_tokens: bool = True) -> NDArray[np.uint8]:
        """Encode one sequence.

        Args:
            sequence: Residues, for example ``"MKTAYIAK"``.
            add_special_tokens: Whether to put ``<cls>`` before and ``<eos>`` after.

        Returns:
            [S] uint8.

        Raises:
            DataError: A character is no token and `unknown` is ``"error"``.
        """
        body = self._encode_body(_to_upper(sequence) if self.upper_case else sequence)
        return np.frombuffer(bytes([CLS_ID]) + body + bytes([EOS_ID]) if add_special_tokens else body, dtype=np.uint8)

    def encode(self, sequence: str, *, add_special_tokens: bool = True) -> list[int]:
        """`encode_array` as a list of integers."""
        ids: list[int] = self.encode_array(sequence, add_special_tokens=add_special_tokens).tolist()
        return ids

    def tokenize(self, sequence: str) -> list[str]:
        """The tokens of a sequence, without special ones around it."""
        return self.convert_ids_to_tokens(self.encode(sequence, add_special_tokens=False))

    def decode(self, token_ids: Iterable[int], *, skip_special_tokens: bool = False) -> str:
        """The text of ids, without spaces: encoding it gives the ids back.

        Args:
            token_ids: Ids from 0 to 32, in any sequence type, arrays and tensors included.
            skip_special_tokens: Whether ``<cls>``, ``<pad>``, ``<eos>``, ``<unk>`` and ``<mask>`` are left out.
        """
        tokens = self.convert_ids_to_tokens(token_ids)
        return "".join(t for t in tokens if not (skip_special_tokens and TOKEN_TO_ID[t] in SPECIAL_IDS))

    def convert_tokens_to_ids(self, tokens: Sequence[str]) -> list[int]:
        """Ids of tokens; an unknown token is ``<unk>``, or an error where `unknown` is ``"error"``."""
        for token in tokens:
            if token not in TOKEN_TO_ID and self.unknown == "error":
                raise DataError(f"Do not recognize token {token!r}. The vocabulary is {' '.join(VOCABULARY)}.")
        return [TOKEN_TO_ID.get(token, UNK_ID) for token in tokens]

    def convert_ids_to_tokens(self, token_ids: Iterable[int]) -> list[str]:
        """Tokens of ids.

        Raises:
            DataError: An id is outside 0 to 32.
        """
        ids = [int(token_id) for token_id in token_ids]
        for token_id in ids:
            if not 0 <= token_id < len(VOCABULARY):
                raise DataError(f"Do not recognize ID {token_id}. Ids go from 0 to {len(VOCABULARY) - 1}.")
        return [VOCABULARY[token_id] for token_id in ids]

    def __call__(
        self,
        sequences: str | Sequence[str],
        *,
        padding: bool = True,
        return_tensors: Literal["pt", "np"] | None = None,
    ) -> dict[str, Any]:
        """Encode a batch with special tokens. Nothing is ever cut off.

        Args:
            sequences: One sequence or several.
            padding: Whether to pad on the right to the longest; needed for tensors of different lengths.
            return_tensors: ``"pt"`` for torch tensors, ``"np"`` for arrays, None for lists.

        Returns:
            ``input_ids`` and ``attention_mask`` (1 at tokens), [B, S] int64; lists of one sequence are not nested.
        """
        rows = [self.encode(s) for s in ([sequences] if isinstance(sequences, str) else sequences)]
        length = max((len(row) for row in rows), default=0)
        pads = [(length - len(row)) if padding else 0 for row in rows]
        encoded: dict[str, Any] = {
            "input_ids": [row + [PAD_ID] * n for row, n in zip(rows, pads, strict=True)],
            "attention_mask": [[1] * len(row) + [0] * n for row, n in zip(rows, pads, strict=True)],
        }
        if return_tensors is None:
            return {k: v[0] for k, v in encoded.items()} if isinstance(sequences, str) else encoded
        arrays = {key: np.asarray(value, dtype=np.int64) for key, value in encoded.items()}
        if return_tensors == "np":
            return arrays
        import torch

        return {key: torch.from_numpy(value) for key, value in arrays.items()}

    def save_pretrained(self, save_dir: str | os.PathLike[str]) -> None:
        """`save_tokenizer`."""
        save_tokenizer(save_dir)

    def _encode_body(self, sequence: str) -> bytes:
        """Ids of a sequence without special tokens around it, one byte each."""
        if sequence.isascii() and "<" not in sequence:
            body = sequence.encode("ascii").translate(_BYTE_TABLE, _WHITE_SPACE)
            if NO_ID not in body:
                return body
        ids: list[int] = []
        for piece in _PIECES.finditer(sequence):
            token, unknown_run = piece.groups()
            if token is not None:
                ids.append(TOKEN_TO_ID[token])
            elif unknown_run is None:
                continue
            elif self.unknown == "error":
                raise DataError(
                    f"Character {unknown_run[0]!r} at position {piece.start() + 1} is no token of ESM-2. Correct the "
                    "sequence, or choose unknown='per_residue' to read it as <unk>."
                )
            else:
                ids.extend([UNK_ID] * (1 if self.unknown == "hf" else len(unknown_run)))
        return bytes(ids)


def _to_upper(sequence: str) -> str:
    """Upper-case residues, and leave the names of special tokens as they are."""
    return _LOWER_CASE.sub(lambda match: match[1] or match[0].upper(), sequence)


@functools.cache
def get_tokenizer(unknown: UnknownPolicy = "error", *, upper_case: bool = False) -> BioNeMoESMTokenizer:
    """The tokenizer, built once for each pair of settings; see `BioNeMoESMTokenizer`."""
    return BioNeMoESMTokenizer(unknown, upper_case=upper_case)


def save_tokenizer(save_dir: str | os.PathLike[str]) -> None:
    """Write the files from which `transformers.EsmTokenizer.from_pretrained(save_dir)` builds the same tokenizer.

    Args:
        save_dir: Folder for ``vocab.txt``, ``tokenizer_config.json`` and ``special_tokens_map.json``.

    Raises:
        DataFileError: A file cannot be written.
    """
    folder = Path(save_dir)
    special_tokens = {f"{name}_token": f"<{name}>" for name in ("cls", "eos", "mask", "pad", "unk")}
    write_text(folder / "vocab.txt", "\n".join(VOCABULARY) + "\n")
    write_json(folder / "special_tokens_map.json", special_tokens)
    write_json(folder / "tokenizer_config.json", {**special_tokens, "tokenizer_class": "EsmTokenizer"})
