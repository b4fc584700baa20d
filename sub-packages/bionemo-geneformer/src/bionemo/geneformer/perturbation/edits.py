# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""In-silico perturbation as an edit of a cell's gene list: what is removed, moved or put in front.

A cell is the list of its gene tokens, most expressed first, without special tokens. An edit says for every place of
the perturbed list which place of the unperturbed one it comes from, so that the two can be compared gene by gene.

Letters: G genes of the unperturbed cell, P of the perturbed one, K genes perturbed together.

Source: Theodoris et al. 2023, Methods, in silico perturbation; quartile moves as its toolkit documents them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError


PerturbType = Literal["delete", "overexpress", "inhibit", "activate"]
NUM_QUARTILES = 4


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """What is done to every cell.

    Attributes:
        perturb_type: ``delete`` removes; ``overexpress`` moves to the front, or inserts there; ``inhibit`` and
            ``activate`` move down and up by quartiles of the cell's list.
        rank_shift: Quartiles to move by, 1 to 3; for inhibit and activate only.
        genes: Tokens perturbed together, as one group; None perturbs every gene of a cell, one at a time.
        anchor: Token perturbed together with each other gene, beside the two alone; with ``genes`` None only.
    """

    perturb_type: PerturbType
    rank_shift: int | None = None
    genes: tuple[int, ...] | None = None
    anchor: int | None = None

    def __post_init__(self) -> None:
        moves_by_rank = self.perturb_type in ("inhibit", "activate")
        if moves_by_rank and self.rank_shift not in (1, 2, 3):
            raise ConfigError(f"rank_shift: {self.perturb_type} needs 1, 2 or 3 quartiles, found {self.rank_shift}.")
        if not moves_by_rank and self.rank_shift is not None:
            raise ConfigError(f"rank_shift: belongs to inhibit and activate, not to {self.perturb_type}.")
        if self.genes is not None and self.anchor is not None:
            raise ConfigError("anchor: pairs it with every other gene of a cell; leave out the group of genes.")
        if self.genes is not None and len(set(self.genes)) < len(self.genes):
            raise ConfigError("genes: one is named twice.")

    @property
    def required_tokens(self) -> tuple[int, ...]:
        """Tokens that a cell must hold to be perturbed; overexpression inserts what is absent."""
        if self.perturb_type == "overexpress":
            return ()
        return self.genes or (() if self.anchor is None else (self.anchor,))


class Edit(NamedTuple):
    """One perturbation of one cell.

    Attributes:
        perturbed: Tokens of the perturbed genes.
        sources: [P] int64, place in the unperturbed list of each gene of the perturbed one; ``-1 - k`` where the k-th
            perturbed gene was inserted.
        overflow: Genes at the end of the unperturbed list that have no room in the perturbed one and are left out of
            both, so that only the perturbation tells the two apart.
        compared: [P] bool, genes that both lists hold and that are not perturbed: embeddings are means over these.
    """

    perturbed: tuple[int, ...]
    sources: NDArray[np.int64]
    overflow: int
    compared: NDArray[np.bool_]

    def tokens(self, genes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The perturbed list, [P] tokens, from the unperturbed one."""
        if self.sources.size and self.sources.min() >= 0:
            return genes[self.sources]
        # Negative places count from the end, as NumPy's do: -1 is the first perturbed gene.
        return np.concatenate([genes, np.array(self.perturbed[::-1], dtype=genes.dtype)])[self.sources]


def edit_cell(
    genes: NDArray[np.int64],
    perturbed: tuple[int, ...],
    perturb_type: PerturbType,
    *,
    max_genes: int,
    rank_shift: int | None = None,
) -> Edit:
    """Perturb some genes of one cell together.

    Args:
        genes: [G] tokens of the cell, most expressed first, each once; at most ``max_genes``.
        perturbed: K tokens; all must be in the cell, unless they are overexpressed. None at all leave it as it is.
        perturb_type: See :class:`Perturbation`.
        max_genes: Genes that the model's context has room for.
        rank_shift: For inhibit and activate.

    Returns:
        The edit. Overexpressed genes stand in front in the order given.
    """
    is_token_KG = genes[None, :] == np.array(perturbed, dtype=genes.dtype)[:, None]
    places: list[int] = np.where(is_token_KG.any(axis=1), is_token_KG.argmax(axis=1), -1).tolist()
    if perturb_type != "overexpress" and -1 in places:
        raise ConfigError(f"{perturb_type}: the cell does not hold gene token {perturbed[places.index(-1)]}.")
    return _edit_places(len(genes), places, perturbed, perturb_type, max_genes, rank_shift)


def cell_edits(genes: NDArray[np.int64], perturbation: Perturbation, max_genes: int) -> Iterator[Edit]:
    """List the edits of one cell, which holds all that ``perturbation.required_tokens`` names.

    Where every gene is perturbed in turn, an edit that leaves the list as it is (the first gene overexpressed, say) is
    left out, and so is one that leaves nothing to compare. With an anchor come: the anchor alone, then each other gene
    alone and both together.

    Args:
        genes: [G] tokens of the cell, most expressed first.
        perturbation: What to do.
        max_genes: Genes that the model's context has room for.

    Yields:
        The edits, in the order of the cell's list.
    """
    kind, shift, anchor = perturbation.perturb_type, perturbation.rank_shift, perturbation.anchor
    num_genes = len(genes)
    if perturbation.genes is not None:
        edit = edit_cell(genes, perturbation.genes, kind, max_genes=max_genes, rank_shift=shift)
        if edit.compared.any():
            yield edit
        return
    unchanged = np.arange(num_genes)
    if anchor is not None and num_genes > 1:
        yield edit_cell(genes, (anchor,), kind, max_genes=max_genes, rank_shift=shift)
    for place, token in enumerate(genes.tolist()):
        if token == anchor:
            continue
        single = _edit_places(num_genes, [place], (token,), kind, max_genes, shift)
        if single.compared.any() and not np.array_equal(single.sources, unchanged):
            yield single
        if anchor is not None:
            pair = edit_cell(genes, (anchor, token), kind, max_genes=max_genes, rank_shift=shift)
            if pair.compared.any():
                yield pair


def _edit_places(
    num_genes: int,
    places: list[int],
    perturbed: tuple[int, ...],
    perturb_type: PerturbType,
    max_genes: int,
    rank_shift: int | None,
) -> Edit:
    """Build the edit from the places of the perturbed genes, -1 where absent."""
    present = [place for place in places if place >= 0]
    others = np.delete(np.arange(num_genes), present)
    overflow = 0
    if perturb_type == "delete":
        sources = others
    elif perturb_type == "overexpress":
        front = [place if place >= 0 else -1 - k for k, place in enumerate(places)]
        sources = np.concatenate([np.array(front, dtype=np.int64), others])
        overflow = max(len(sources) - max_genes, 0)
        sources = sources[:max_genes]
    else:
        assert rank_shift is not None
        sources = _moved(num_genes, present, others, rank_shift if perturb_type == "inhibit" else -rank_shift)
    compared = (sources >= 0) & (sources < num_genes - overflow)
    for place in present:
        compared &= sources != place
    return Edit(perturbed, sources, overflow, compared)


def target_place(place: int, num_genes: int, quartiles: int) -> int:
    """Where a gene goes that moves down (up: negative) by quartiles: the middle of the quartile it reaches.

    Quartile t of a list of G genes are the places p with ``4 p // G == t``, its middle is ``(2 t + 1) G // 8``. Beyond
    the last quartile lies the end of the list, beyond the first its front.
    """
    target = NUM_QUARTILES * place // num_genes + quartiles
    if target < 0:
        return 0
    if target >= NUM_QUARTILES:
        return num_genes - 1
    return (2 * target + 1) * num_genes // (2 * NUM_QUARTILES)


def _moved(num_genes: int, places: list[int], others: NDArray[np.int64], quartiles: int) -> NDArray[np.int64]:
    """Put the genes at ``places`` where they belong, in their old order if two meet, and the others around them."""
    wanted = sorted((target_place(place, num_genes, quartiles), place) for place in places)
    result = np.full(num_genes, -1, dtype=np.int64)
    previous = -1
    for k, (target, place) in enumerate(wanted):
        # Genes that meet stand side by side: the later one behind, unless the end of the list pushes both forward.
        previous = min(max(target, previous + 1), num_genes - (len(wanted) - k))
        result[previous] = place
    result[result < 0] = others
    return result
