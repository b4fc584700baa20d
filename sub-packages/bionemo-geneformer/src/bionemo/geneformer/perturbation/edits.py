# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""In-silico perturbation as an edit of a cell's gene list: what is removed, moved or put in front.

A cell is the list of its gene tokens, most expressed first, without special tokens. An edit says for every place of
the perturbed list which place of the unperturbed one it comes from, so that the two can be compared gene by gene.

Letters: G genes of the unperturbed cell, P of the perturbed one, K genes perturbed together, E edits.

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
EDITS_OF_A_BLOCK = 64
"""Edits of one cell that are laid out together: 64 of 4,096 genes take 2 MB for each array."""


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
        """Return the perturbed list, [P] tokens, from the unperturbed one."""
        return _tokens_at(self.sources, genes, self.perturbed)


class EditBlock(NamedTuple):
    """Consecutive edits of one cell whose perturbed lists have one length.

    Attributes:
        perturbed: Tokens of the perturbed genes of each of E edits.
        sources: [E, P] int64, see :class:`Edit`.
        overflow: Genes at the end of the unperturbed list that are left out of both.
        compared: [E, P] bool.
    """

    perturbed: list[tuple[int, ...]]
    sources: NDArray[np.int64]
    overflow: int
    compared: NDArray[np.bool_]

    def part(self, first: int, end: int) -> "EditBlock":
        """Return some of the edits."""
        return EditBlock(self.perturbed[first:end], self.sources[first:end], self.overflow, self.compared[first:end])

    def tokens(self, genes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the perturbed lists, [E, P] tokens, from the unperturbed one."""
        return _tokens_at(self.sources, genes, self.perturbed[0])  # who inserts genes stands alone in its block


def _tokens_at(sources: NDArray[np.int64], genes: NDArray[np.int64], perturbed: tuple[int, ...]) -> NDArray[np.int64]:
    if sources.size and sources.min() >= 0:
        return genes[sources]
    # Negative places count from the end, as NumPy's do: -1 is the first perturbed gene.
    return np.concatenate([genes, np.array(perturbed[::-1], dtype=genes.dtype)])[sources]


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


def cell_edits(genes: NDArray[np.int64], perturbation: Perturbation, max_genes: int) -> Iterator[EditBlock]:
    """List the edits of one cell, which holds all that ``perturbation.required_tokens`` names.

    Where every gene is perturbed in turn, an edit that leaves the list as it is (the first gene overexpressed, say) is
    left out, and so is one that leaves nothing to compare. With an anchor come: the anchor alone, then each other gene
    alone and both together.

    Args:
        genes: [G] tokens of the cell, most expressed first.
        perturbation: What to do.
        max_genes: Genes that the model's context has room for.

    Yields:
        The edits, in the order of the cell's list, in blocks.
    """
    if perturbation.genes is None and perturbation.anchor is None:
        yield from _single_gene_blocks(genes, perturbation)
        return
    for edit in _composed_edits(genes, perturbation, max_genes):
        if edit.compared.any():
            yield EditBlock([edit.perturbed], edit.sources[None], edit.overflow, edit.compared[None])


def _single_gene_blocks(genes: NDArray[np.int64], perturbation: Perturbation) -> Iterator[EditBlock]:
    """Every gene perturbed alone: it leaves its place and, unless it is deleted, takes another."""
    num_genes = len(genes)
    if num_genes < 2:
        return
    places = np.arange(num_genes)
    targets: NDArray[np.int64] | None = None
    if perturbation.perturb_type == "overexpress":
        targets = np.zeros_like(places)
    elif perturbation.perturb_type != "delete":
        assert perturbation.rank_shift is not None
        shift = perturbation.rank_shift if perturbation.perturb_type == "inhibit" else -perturbation.rank_shift
        targets = np.array([target_place(place, num_genes, shift) for place in range(num_genes)])
    if targets is not None:
        places = places[targets != places]
    place_P = np.arange(num_genes if targets is not None else num_genes - 1)
    for start in range(0, len(places), EDITS_OF_A_BLOCK):
        edited_E1 = places[start : start + EDITS_OF_A_BLOCK, None]
        if targets is None:
            sources_EP = place_P + (place_P >= edited_E1)
            compared_EP = np.ones(sources_EP.shape, dtype=bool)
        else:
            target_E1 = targets[edited_E1]
            other_EP = place_P - (place_P > target_E1)
            compared_EP = place_P != target_E1
            sources_EP = np.where(compared_EP, other_EP + (other_EP >= edited_E1), edited_E1)
        perturbed: list[tuple[int, ...]] = [(token,) for token in genes[edited_E1[:, 0]].tolist()]
        yield EditBlock(perturbed, sources_EP, 0, compared_EP)


def _composed_edits(genes: NDArray[np.int64], perturbation: Perturbation, max_genes: int) -> Iterator[Edit]:
    """A group of genes perturbed together, or each gene with the anchor."""
    kind, shift, anchor = perturbation.perturb_type, perturbation.rank_shift, perturbation.anchor
    num_genes = len(genes)
    if perturbation.genes is not None:
        yield edit_cell(genes, perturbation.genes, kind, max_genes=max_genes, rank_shift=shift)
        return
    assert anchor is not None
    unchanged = np.arange(num_genes)
    if num_genes > 1:
        yield edit_cell(genes, (anchor,), kind, max_genes=max_genes, rank_shift=shift)
    for place, token in enumerate(genes.tolist()):
        if token == anchor:
            continue
        single = _edit_places(num_genes, [place], (token,), kind, max_genes, shift)
        if not np.array_equal(single.sources, unchanged):
            yield single
        yield edit_cell(genes, (anchor, token), kind, max_genes=max_genes, rank_shift=shift)


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
