# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The three vocabularies that share the name Geneformer: which special tokens they have and how cells are framed."""

from dataclasses import dataclass

from bionemo.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How one family of models writes a cell as tokens.

    Attributes:
        name: As in ``--model``.
        special_tokens: In the order of their ids, from 0.
        pad_token: Fills up.
        mask_token: Hides a gene.
        cls_token: Put before the genes, or None.
        eos_token: Put after the genes, or None.
        max_length: Longest cell in tokens, special ones included.
        normalize_by_all_genes: Whether counts are divided by the sum over all genes of the cell rather than over those
            of the vocabulary. It does not change the order of the genes.
    """

    name: str
    special_tokens: tuple[str, ...]
    pad_token: str
    mask_token: str
    cls_token: str | None
    eos_token: str | None
    max_length: int
    normalize_by_all_genes: bool

    @property
    def num_framing_tokens(self) -> int:
        """Special tokens that stand around the genes of every cell."""
        return (self.cls_token is not None) + (self.eos_token is not None)


V1 = Variant(
    name="V1",
    special_tokens=("<pad>", "<mask>"),
    pad_token="<pad>",
    mask_token="<mask>",
    cls_token=None,
    eos_token=None,
    max_length=2048,
    normalize_by_all_genes=True,
)
V2 = Variant(
    name="V2",
    special_tokens=("<pad>", "<mask>", "<cls>", "<eos>"),
    pad_token="<pad>",
    mask_token="<mask>",
    cls_token="<cls>",
    eos_token="<eos>",
    max_length=4096,
    normalize_by_all_genes=True,
)
BIONEMO = Variant(
    name="BIONEMO",
    special_tokens=("[CLS]", "[MASK]", "[PAD]", "[SEP]", "[UKW]"),
    pad_token="[PAD]",
    mask_token="[MASK]",
    cls_token="[CLS]",
    eos_token=None,
    max_length=2048,
    normalize_by_all_genes=False,
)
VARIANTS = {variant.name: variant for variant in (V1, V2, BIONEMO)}


def find_variant(name: str) -> Variant:
    """Look a variant up.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in VARIANTS:
        raise ConfigError(f"--model {name}: unknown. Choose one of {', '.join(VARIANTS)}.")
    return VARIANTS[name]
