# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Amino-acid variants as text, ``P20L`` or HGVS ``p.Pro20Leu``, and as edits of a sequence.

Sources: HGVS nomenclature 21 (protein level: substitution, deletion, insertion, deletion-insertion, duplication);
ProteinGym's ``mutant`` column, which joins substitutions by ``:``.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np

from bionemo.core.errors import DataError


EditKind = Literal["substitution", "deletion", "insertion", "delins", "duplication"]

_THREE_LETTERS = {
    **{"Ala": "A", "Arg": "R", "Asn": "N", "Asp": "D", "Cys": "C", "Gln": "Q", "Glu": "E", "Gly": "G", "His": "H"},
    **{"Ile": "I", "Leu": "L", "Lys": "K", "Met": "M", "Phe": "F", "Pro": "P", "Ser": "S", "Thr": "T", "Trp": "W"},
    **{"Tyr": "Y", "Val": "V", "Asx": "B", "Glx": "Z", "Sec": "U", "Pyl": "O", "Xaa": "X"},
}
_LETTER = "(?:" + "|".join(_THREE_LETTERS) + "|[ACDEFGHIKLMNPQRSTVWYXBUZO])"
_EDIT = re.compile(
    rf"(?P<first>{_LETTER})(?P<start>\d+)"
    rf"(?:_(?P<last>{_LETTER})(?P<end>\d+))?"
    rf"(?:(?P<kind>delins|del|ins|dup)(?P<new>{_LETTER}*)|(?P<to>{_LETTER}|=))"
)
_KINDS: dict[str, EditKind] = {"del": "deletion", "ins": "insertion", "delins": "delins", "dup": "duplication"}
_WILD_TYPE = ("WT", "P.=", "P.(=)")


class Edit(NamedTuple):
    """One change of a protein; positions count from 1 in the numbering of the text."""

    kind: EditKind
    start: int
    """First residue changed; of an insertion, the residue before it."""

    end: int
    """Last residue changed; of an insertion, the residue after it."""

    first: str
    """Wild-type letter at `start`."""

    last: str
    """Wild-type letter at `end`."""

    new: str
    """Letters that come in; empty for deletions and duplications."""


class Variant(NamedTuple):
    """Edits that a protein carries together, in ascending order; none: the wild type."""

    text: str
    edits: tuple[Edit, ...]

    @property
    def is_substitution(self) -> bool:
        """Whether all edits are substitutions, so that the length stays and positions can be scored one by one."""
        return all(edit.kind == "substitution" for edit in self.edits)


def parse_variant(text: str) -> Variant:
    """Parse the text of a variant.

    Args:
        text: ``P20L``; several joined by ``:`` (``A1G:C3D``); HGVS protein level with one or three letters
            (``p.Pro20Leu``, ``p.[Ala1Gly;Cys3Asp]``, ``p.Lys23_Leu24insArg``, ``p.Pro20_Lys23delinsArg``,
            ``p.Pro20dup``); ``WT`` for the wild type.

    Returns:
        The variant, its edits in ascending order.

    Raises:
        DataError: The text is none of these, or two edits touch the same residues.

    Example:
        >>> parse_variant("p.Pro20Leu").edits
        (Edit(kind='substitution', start=20, end=20, first='P', last='P', new='L'),)
    """
    body = text.strip()
    if body.upper() in _WILD_TYPE:
        return Variant(text, ())
    body = body.removeprefix("p.")
    for opening, closing in ("()", "[]"):
        if body.startswith(opening) and body.endswith(closing):
            body = body[1:-1]
    edits = sorted((_parse_edit(text, part.strip()) for part in re.split("[:;]", body)), key=lambda edit: edit.start)
    for before, after in itertools.pairwise(edits):
        if _changed_after(before) > _changed_from(after):
            raise DataError(f"variant {text!r}: two edits touch the residues around {after.start}. Write them as one.")
    return Variant(text, tuple(edits))


def infer_offset(variants: Iterable[Variant], wild_type: str) -> int:
    """Return what must be added to the positions of variants so that their wild-type letters fit a sequence.

    Args:
        variants: Parsed variants, all in one numbering.
        wild_type: Sequence of the wild type.

    Returns:
        0 where the letters fit as they stand, else the only offset at which all of them fit.

    Raises:
        DataError: No offset fits all letters, or several do.

    Example:
        >>> infer_offset([parse_variant("K102A"), parse_variant("T103G")], "MKT")
        -100
    """
    anchors = sorted({anchor for variant in variants for edit in variant.edits for anchor in _anchors(edit)})
    if not anchors:
        return 0
    sequence = np.frombuffer(wild_type.encode("ascii", "replace"), dtype=np.uint8)
    positions = np.array([position for position, _ in anchors])
    letters = np.frombuffer("".join(letter for _, letter in anchors).encode(), dtype=np.uint8)
    offsets = range(1 - int(positions[0]), len(sequence) - int(positions[-1]) + 1)
    num_fitting = {offset: int((sequence[positions + (offset - 1)] == letters).sum()) for offset in offsets}
    fitting = [offset for offset, count in num_fitting.items() if count == len(letters)]
    if 0 in fitting or len(fitting) == 1:
        return 0 if 0 in fitting else fitting[0]
    if fitting:
        raise DataError(
            f"the wild-type letters of the variants fit the sequence at several offsets of the numbering "
            f"({', '.join(map(str, fitting[:5]))}). Give the offset."
        )
    best = max(num_fitting, key=lambda offset: (num_fitting[offset], -abs(offset)), default=None)
    hint = "" if best is None else f"; the best, {best}, fits {num_fitting[best]} of {len(letters)}"
    raise DataError(
        f"no offset of the numbering fits the wild-type letters of the variants to the sequence of {len(wild_type)} "
        f"residues{hint}. Is it another protein or isoform?"
    )


def most_fitting_offset(variants: Iterable[Variant], wild_type: str) -> int | None:
    """Return the offset of the numbering at which most wild-type letters fit, the nearest to 0 among several.

    Args:
        variants: Parsed variants, all in one numbering.
        wild_type: Sequence of the wild type.

    Returns:
        What must be added to the positions; None where less than half of the letters fit at any offset.

    Example:
        >>> most_fitting_offset([parse_variant(text) for text in ("K102A", "T103G", "W1A")], "MKT")
        -100
    """
    anchors = {anchor for variant in variants for edit in variant.edits for anchor in _anchors(edit)}
    letters_at: dict[str, list[int]] = {}
    for idx, letter in enumerate(wild_type):
        letters_at.setdefault(letter, []).append(idx)
    num_fitting = Counter(idx + 1 - position for position, letter in anchors for idx in letters_at.get(letter, ()))
    best = max(num_fitting, key=lambda offset: (num_fitting[offset], -abs(offset), offset), default=None)
    return best if best is not None and 2 * num_fitting[best] >= len(anchors) else None


def apply_variant(variant: Variant, wild_type: str, *, offset: int = 0) -> str:
    """Return the sequence of a variant.

    Args:
        variant: Parsed variant.
        wild_type: Sequence of the wild type.
        offset: Added to the positions of the variant, see `infer_offset`.

    Raises:
        DataError: A position lies outside the sequence, or another letter than the variant's stands there.

    Example:
        >>> apply_variant(parse_variant("K2_T3insGG:M1A"), "MKT")
        'AKGGT'
    """
    check_letters(variant, wild_type, offset=offset)
    pieces, done = [], 0
    for edit in variant.edits:
        start, end = _changed_from(edit) + offset - 1, _changed_after(edit) + offset - 1
        new = wild_type[edit.start + offset - 1 : edit.end + offset] if edit.kind == "duplication" else edit.new
        pieces += [wild_type[done:start], new]
        done = end
    return "".join([*pieces, wild_type[done:]])


def check_letters(variant: Variant, wild_type: str, *, offset: int = 0) -> None:
    """Refuse a variant whose wild-type letters are not those of a sequence.

    Args:
        variant: Parsed variant.
        wild_type: Sequence of the wild type.
        offset: Added to the positions of the variant.

    Raises:
        DataError: A position lies outside the sequence, or another letter than the variant's stands there.
    """
    for edit in variant.edits:
        for position, letter in _anchors(edit):
            _check_letter(variant, position, letter, wild_type, offset)


def _parse_edit(text: str, part: str) -> Edit:
    match = _EDIT.fullmatch(part)
    if match is None:
        reason = "stop codons and frame shifts change more than residues: " if re.search(r"Ter|\*|fs", part) else ""
        raise DataError(
            f"variant {text!r}: {reason}{part!r} is no substitution, deletion, insertion or duplication of residues. "
            "Expected, for example, P20L, A1G:C3D, p.Pro20Leu, p.Pro20del or p.Lys23_Leu24insArg."
        )
    first, start = _one_letter(match["first"]), int(match["start"])
    last, end = (first, start) if match["end"] is None else (_one_letter(match["last"]), int(match["end"]))
    kind = "substitution" if match["to"] else _KINDS[match["kind"]]
    new = first if match["to"] == "=" else _one_letter(match["to"] or match["new"])
    if kind in ("deletion", "duplication"):
        new = ""  # some texts repeat the letters concerned
    if start < 1 or end < start:
        raise DataError(f"variant {text!r}: positions {start} to {end}. They count from 1 and ascend.")
    if kind == "substitution" and end != start:
        raise DataError(f"variant {text!r}: several residues become others by delins, as p.Pro20_Lys23delinsArg.")
    if kind == "insertion" and end != start + 1:
        raise DataError(f"variant {text!r}: an insertion stands between neighbours, as p.Lys23_Leu24insArg.")
    if kind in ("insertion", "delins") and not new:
        raise DataError(f"variant {text!r}: {part!r} does not say which residues come in.")
    return Edit(kind, start, end, first, last, new)


def _one_letter(letters: str) -> str:
    return re.sub("|".join(_THREE_LETTERS), lambda match: _THREE_LETTERS[match[0]], letters)


def _anchors(edit: Edit) -> list[tuple[int, str]]:
    """Positions of which the text says the wild-type letter."""
    return [(edit.start, edit.first)] if edit.start == edit.end else [(edit.start, edit.first), (edit.end, edit.last)]


def _changed_from(edit: Edit) -> int:
    """First position that is replaced; insertions and duplications replace none and stand before this one."""
    return edit.end if edit.kind == "insertion" else edit.end + 1 if edit.kind == "duplication" else edit.start


def _changed_after(edit: Edit) -> int:
    """Position after the last one that is replaced."""
    return edit.end if edit.kind == "insertion" else edit.end + 1


def _check_letter(variant: Variant, position: int, letter: str, wild_type: str, offset: int) -> None:
    idx = position + offset - 1
    where = f"position {position}" if offset == 0 else f"position {position} (offset {offset}: {idx + 1})"
    if not 0 <= idx < len(wild_type):
        raise DataError(f"variant {variant.text!r}: {where} lies outside the sequence of {len(wild_type)} residues.")
    if wild_type[idx] != letter:
        try:
            hint = f" With offset {infer_offset([variant], wild_type)} it would fit."
        except DataError:
            hint = ""
        raise DataError(f"variant {variant.text!r}: {where} is {wild_type[idx]}, the variant says {letter}.{hint}")
