# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Variants checked against their wild types.

A row that cannot be scored raises one line, or is left out and listed with its reason. Rows are counted from 0, as in
the results.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from bionemo.core.errors import DataError
from bionemo.esm2.variants.mutations import infer_offset, most_fitting_offset, parse_variant
from bionemo.esm2.variants.variant_file import TableRow
from bionemo.esm2.variants.wild_types import (
    ChainVariant,
    Substitution,
    WildType,
    mutant_sequence,
    substitutions_of,
)


class VariantRow(NamedTuple):
    """One variant that can be scored."""

    row: int
    """Place in the table, from 0."""

    wild_type: WildType
    chain: str
    """As the table names it; empty of one chain."""

    text: str
    substitutions: tuple[Substitution, ...] | None
    """None where residues come in or go."""

    indel_sequence: str | None
    """Sequence of the variant where residues come in or go, chains joined."""

    measured: float | None

    @property
    def sequence(self) -> str:
        """Sequence of the variant, chains joined."""
        if self.substitutions is None:
            assert self.indel_sequence is not None
            return self.indel_sequence
        letters = list(self.wild_type.sequence)
        for each in self.substitutions:
            letters[each.place] = each.mutant
        return "".join(letters)


class RejectedRow(NamedTuple):
    """One row that was left out."""

    row: int
    protein: str
    mutant: str
    reason: str


def check_rows(
    rows: Sequence[TableRow],
    wild_types: Mapping[str, WildType],
    *,
    offset: int | None,
    on_bad_row: Literal["error", "skip"],
    source: str,
) -> tuple[list[VariantRow], list[RejectedRow]]:
    """Parse variants and fit their numbering to their wild types.

    Args:
        rows: All rows of a table, or of a list.
        wild_types: Id to wild type.
        offset: Added to all positions; None: inferred for each chain from the wild-type letters.
        on_bad_row: Raise at the first bad row, or leave it out.
        source: What to call the table in messages.

    Returns:
        The rows that can be scored, and those left out.

    Raises:
        DataError: A row is bad and none may be left out; the numbering fits at several offsets; or no row is good.
    """
    parsed: list[tuple[TableRow, WildType, list[ChainVariant]]] = []
    rejected: list[RejectedRow] = []

    def reject(row: TableRow, reason: str) -> None:
        if on_bad_row == "error":
            raise DataError(f"{source}: row {row.row}: {reason}")
        rejected.append(RejectedRow(row.row, row.protein or "", row.variant, reason))

    for row in rows:
        try:
            wild_type = _wild_type_of(row, wild_types)
            parsed.append((row, wild_type, _parse_chains(row, wild_type)))
        except DataError as error:
            reject(row, str(error))
    offsets = _offsets(parsed, offset, source)
    good = []
    for row, wild_type, edited in parsed:
        placed = [each._replace(offset=offsets[wild_type.id, each.chain]) for each in edited]
        try:
            measured = _number(row.measured)
            found = substitutions_of(wild_type, placed)
            indel_sequence = mutant_sequence(wild_type, placed) if found is None else None
        except DataError as error:
            reject(row, str(error) + _hint(str(error), parsed, wild_type, placed))
            continue
        kept = None if found is None else tuple(found)
        good.append(VariantRow(row.row, wild_type, row.chain or "", row.variant, kept, indel_sequence, measured))
    if not good:
        reason = f" The first was left out because: {rejected[0].reason}" if rejected else ""
        raise DataError(f"{source}: holds no variant that can be scored.{reason}")
    return good, sorted(rejected)


def _wild_type_of(row: TableRow, wild_types: Mapping[str, WildType]) -> WildType:
    if row.protein is None and len(wild_types) == 1:
        return next(iter(wild_types.values()))
    if row.protein is None:
        raise DataError(f"there are {len(wild_types)} wild types and no column names one. Add --protein-column.")
    if row.protein not in wild_types:
        known = ", ".join(list(wild_types)[:5])
        raise DataError(f"no wild type {row.protein!r}, found {known}.")
    return wild_types[row.protein]


def _parse_chains(row: TableRow, wild_type: WildType) -> list[ChainVariant]:
    """Parse the edits of each chain: of one chain, or of a complex one for each edit."""
    if not row.variant:
        raise DataError("no variant is given. Expected, for example, P20L, or WT for the wild type.")
    if len(wild_type.chains) == 1 and row.chain in (None, "", wild_type.chain_ids[0]):
        return [ChainVariant(0, parse_variant(row.variant), 0)]
    names = (row.chain or "").split(":")
    parts = row.variant.split(":") if len(names) > 1 else [row.variant]
    if not row.chain or len(names) != len(parts):
        raise DataError(
            f"variant {row.variant!r} of a complex: expected a chain ({', '.join(wild_type.chain_ids)}) in the column "
            f"chain, one for all edits or one for each, joined by ':'; found {row.chain or 'none'}."
        )
    texts: dict[int, list[str]] = {}
    for name, part in zip(names, parts, strict=True):
        texts.setdefault(wild_type.chain_index(name), []).append(part)
    return [ChainVariant(chain, parse_variant(":".join(found)), 0) for chain, found in sorted(texts.items())]


def _offsets(
    parsed: Sequence[tuple[TableRow, WildType, list[ChainVariant]]], given: int | None, source: str
) -> dict[tuple[str, int], int]:
    """Offset of each chain; where not all letters fit at one, that at which most do: the others are bad rows."""
    variants: dict[tuple[str, int], list[Any]] = {}
    chains: dict[tuple[str, int], str] = {}
    for _, wild_type, edited in parsed:
        for each in edited:
            variants.setdefault((wild_type.id, each.chain), []).append(each.variant)
            chains[wild_type.id, each.chain] = wild_type.chains[each.chain]
    if given is not None:
        return dict.fromkeys(variants, given)
    offsets = {}
    for key, found in variants.items():
        try:
            offsets[key] = infer_offset(found, chains[key])
        except DataError as error:
            most = most_fitting_offset(found, chains[key])
            if most is None or "several offsets" in str(error):
                raise DataError(f"{source}: {key[0]}: {error}") from error
            offsets[key] = most
    return offsets


def _hint(
    reason: str,
    parsed: Sequence[tuple[TableRow, WildType, list[ChainVariant]]],
    wild_type: WildType,
    placed: Sequence[ChainVariant],
) -> str:
    """Name the offset that would fit the letters of most variants, where the one in use is another."""
    if "would fit" in reason or ("the variant says" not in reason and "lies outside" not in reason):
        return ""
    for each in placed:
        of_chain = [
            other.variant
            for _, their_wild_type, edited in parsed
            if their_wild_type.id == wild_type.id
            for other in edited
            if other.chain == each.chain
        ]
        most = most_fitting_offset(of_chain, wild_type.chains[each.chain])
        if most is not None and most != each.offset:
            return f" With --offset {most} most variants would fit."
    return ""


def _number(text: str | None) -> float | None:
    if text is None or not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"measured value {text!r} is no number. Correct it or leave it empty.") from None
    return None if math.isnan(value) else value
