# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a user decides on in a perturbation, from the command line or from Python."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from bionemo.core.config import explicit_fields, option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.exclusive_settings import Exclusive
from bionemo.core.flag_groups import FlagGroup, SharedFlags
from bionemo.geneformer.flag_groups import CellFlags


CELLS, PERTURBATION, MEASURE, PACKS = "cells", "perturbation", "measure", "packs"
ALL_GENES = "all"
STATES = ("state_key", "start_state", "goal_state", "alt_states", "state_average")


@dataclass(frozen=True, kw_only=True)
class PerturbationSettings(FlagGroup):
    """Which cells, what is done to them, and what is measured."""

    exclusive: ClassVar[Exclusive] = (
        ("anchor_gene", ("genes",)),
        ("rank_shift", ("perturb_type=delete", "perturb_type=overexpress")),
        ("cosine", STATES),
        ("cosine=genes", ("embedding=cls",)),
    )

    filter_cells: tuple[str, ...] = option(
        (),
        group=CELLS,
        help="Only cells with COLUMN=VALUE[,VALUE...]; values with commas too, and columns again for more values.",
    )
    max_cells: int | None = option_like(CellFlags, "max_cells", None, group=CELLS)

    perturb_type: Literal["delete", "overexpress", "inhibit", "activate"] = option(
        "delete", group=PERTURBATION, help="Remove; move to the front or insert there; move down or up by quartiles."
    )
    rank_shift: int | None = option(
        None, group=PERTURBATION, help="Quartiles to move by, 1 to 3; for inhibit and activate."
    )
    genes: tuple[str, ...] = option(
        (ALL_GENES,),
        group=PERTURBATION,
        help="Ensembl ids or symbols, perturbed together; all: every gene of a cell, one at a time.",
    )
    anchor_gene: str | None = option(
        None, group=PERTURBATION, help="Pair it with every other gene of a cell, beside the two alone."
    )

    state_key: str | None = option(None, group=MEASURE, help="Column of the states of cells.")
    start_state: str | None = option(None, group=MEASURE, help="Cells of this state are perturbed.")
    goal_state: str | None = option(None, group=MEASURE, help="State towards which the shift is measured.")
    alt_states: tuple[str, ...] = option((), group=MEASURE, help="Other states towards which it is measured.")
    state_average: Literal["mean", "median"] = option(
        "mean", group=MEASURE, help="How the cells of a state become one embedding."
    )
    embedding: Literal["cls", "cell"] | None = option_like(CellFlags, "embedding", None, group=MEASURE)
    layer: int = option_like(CellFlags, "layer", -1, group=MEASURE)
    cosine: Literal["pooled", "genes"] | None = option(
        None,
        group=MEASURE,
        help="Without states: of the two embeddings, or mean over genes; default: genes with embedding cell of V1.",
    )
    gene_cosines: bool = option(False, group=MEASURE, help="Also write the cosine of every gene of a perturbed cell.")

    tokens_per_batch: int | None = option_like(SharedFlags, "tokens_per_batch", None, group=PACKS)
    seed: int = option_like(SharedFlags, "seed", 42, group=PACKS)

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range; the message names the flag.
        """
        super().__post_init__()
        for name in ("max_cells", "tokens_per_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{flag(name)} {value}: must be at least 1.")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed}: must not be negative.")

    @property
    def has_states(self) -> bool:
        """Whether shifts between states are measured."""
        return self.state_key is not None

    @property
    def is_group(self) -> bool:
        """Whether given genes are perturbed together, rather than each gene of a cell."""
        return self.genes != (ALL_GENES,)


def flag(name: str) -> str:
    """Spell a field as its flag."""
    return "--" + name.replace("_", "-")


def check_settings(settings: PerturbationSettings) -> None:
    """Refuse settings that contradict each other.

    Raises:
        ConfigError: The message names the flags.
    """
    if not settings.genes:
        raise ConfigError("--genes: none given. Name genes, or all.")
    if ALL_GENES in settings.genes and settings.is_group:
        raise ConfigError("--genes: all stands alone, it cannot be combined with names.")
    if settings.anchor_gene is not None and settings.is_group:
        raise ConfigError("--anchor-gene: pairs it with every other gene of a cell; leave out --genes.")
    _check_moves(settings)
    _check_states(settings)


def _check_moves(settings: PerturbationSettings) -> None:
    moves = settings.perturb_type in ("inhibit", "activate")
    if moves and settings.rank_shift not in (1, 2, 3):
        raise ConfigError(f"--rank-shift {settings.rank_shift}: {settings.perturb_type} needs 1, 2 or 3 quartiles.")
    if not moves and settings.rank_shift is not None:
        raise ConfigError(f"--rank-shift: belongs to inhibit and activate, not to {settings.perturb_type}.")


def _check_states(settings: PerturbationSettings) -> None:
    names = ("state_key", "start_state", "goal_state")
    missing = [flag(name) for name in names if getattr(settings, name) is None]
    if len(missing) in (1, 2) or (missing and settings.alt_states):
        raise ConfigError(f"{' and '.join(missing)}: missing; states need {', '.join(map(flag, names))}.")
    if settings.has_states and settings.cosine is not None:
        raise ConfigError("--cosine: has no effect with states; their shifts are of the embedding.")
    if settings.cosine == "genes" and settings.embedding == "cls":
        raise ConfigError("--cosine genes: is a mean over genes and has no use for --embedding cls.")
    if not settings.has_states and "state_average" in explicit_fields(settings):
        raise ConfigError("--state-average: has no effect without states.")
