# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Flags of every command that reads FASTA files: what becomes of records that are not proteins."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from bionemo.core.config import option


class FastaPolicies(TypedDict):
    """Keyword arguments of `bionemo.esm2.data.sequence_store_writer.build_store`."""

    on_illegal: Literal["error", "unk"]
    on_bad_record: Literal["error", "skip", "fix"]
    on_duplicate_id: Literal["error", "skip", "number"] | None


@dataclass(frozen=True, kw_only=True)
class FastaFlags:
    """Policies for bad records, see `bionemo.esm2.data.fasta_policy.FastaPolicy`."""

    illegal: Literal["error", "unk"] = option(
        "error",
        group="data",
        help="Letters that ESM-2 does not know (J, an inner *, gaps): error makes their record a bad one, unk reads "
        "them as <unk>. Digits, punctuation and words are never residues.",
    )
    on_bad_record: Literal["error", "skip", "fix"] = option(
        "error",
        group="data",
        help="Bad FASTA records: error stops at the first; skip leaves them out and lists them in rejected.tsv; fix "
        "removes gaps, reads unknown letters as X, and leaves out what cannot be mended.",
    )
    duplicate_ids: Literal["error", "skip", "number"] | None = option(
        None,
        group="data",
        help="Records whose id an earlier one has: error, skip (leave out and list), or number (id_2, id_3); default: "
        "error, skip or number as --on-bad-record is error, skip or fix.",
    )

    def policies(self) -> FastaPolicies:
        """Return the flags as the library's arguments."""
        return {
            "on_illegal": self.illegal,
            "on_bad_record": self.on_bad_record,
            "on_duplicate_id": self.duplicate_ids,
        }


def paths_of(value: Path | str | Sequence[Path | str]) -> tuple[Path, ...]:
    """Return one path or several as a tuple."""
    return (Path(value),) if isinstance(value, (str, Path)) else tuple(map(Path, value))
