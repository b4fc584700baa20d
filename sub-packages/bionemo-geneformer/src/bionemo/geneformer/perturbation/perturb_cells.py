# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""One stream of packed batches through the model: each cell as it is, once, and right behind it its perturbed lists.

A pack takes whatever comes next, of the same cell or another, up to the token budget; nothing is padded. The vectors
of an unperturbed cell stay until its last edit is measured.

Letters: T tokens of a pack, H hidden, C cells.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bionemo.core.errors import DataError
from bionemo.geneformer.data.tokenized_cells import TokenizedCells
from bionemo.geneformer.embedding.encoder import Encoder
from bionemo.geneformer.embedding.pooling import EmbeddingKind
from bionemo.geneformer.perturbation.edits import EditBlock, Perturbation, cell_edits
from bionemo.geneformer.perturbation.shifts import (
    ComparedGenes,
    HiddenCell,
    Measure,
    gene_cosines,
    shifts_of_edits,
)
from bionemo.llm.data.packing import build_packed_batch
from bionemo.llm.model.host_copy import HostCopy, to_device


class TokenLayout(NamedTuple):
    """How a model wants a cell's genes.

    Attributes:
        max_length: Tokens that the context has room for.
        prefix: Special tokens before the genes.
        suffix: Special tokens after them.
        vocab_size: Ids are below it.
    """

    max_length: int
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    vocab_size: int | None = None

    @property
    def max_genes(self) -> int:
        """Genes that the context has room for."""
        return self.max_length - len(self.prefix) - len(self.suffix)

    def genes_of(self, tokens: NDArray[np.int64], cell_idx: int) -> NDArray[np.int64]:
        """The genes of a tokenized cell, without special tokens.

        Raises:
            DataError: The cell was not tokenized for this model.
        """
        end = len(tokens) - len(self.suffix)
        has_specials = (*tokens[: len(self.prefix)], *tokens[max(end, 0) :]) == (*self.prefix, *self.suffix)
        if not has_specials or (self.vocab_size is not None and tokens.max(initial=0) >= self.vocab_size):
            raise DataError(
                f"cell {cell_idx}: its tokens are not of the model's vocabulary. Tokenize it for this model."
            )
        if len(tokens) > self.max_length:
            raise DataError(
                f"cell {cell_idx}: {len(tokens)} tokens, more than the model's {self.max_length}. "
                "Tokenize it for this model."
            )
        return tokens[len(self.prefix) : end]

    def tokens_of(self, genes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The opposite of :meth:`genes_of`, of one list [P] or of several [E, P]."""
        framed = [np.broadcast_to(np.array(x, dtype=np.int64), (*genes.shape[:-1], len(x))) for x in self[1:3]]
        return np.concatenate([framed[0], genes, framed[1]], axis=-1)


class EditShifts(NamedTuple):
    """What was measured of consecutive edits of one cell.

    Attributes:
        cell_idx: Which cell.
        perturbed: Tokens perturbed by each of E edits.
        values: [E, columns] float64, in the order of ``Measure.columns``.
        affected: If asked for, [R] int64 tokens of the genes compared, edit after edit.
        affected_counts: [E] int64, how many belong to each edit.
        affected_cosines: [R] float32, cosine of each before and after.
    """

    cell_idx: int
    perturbed: list[tuple[int, ...]]
    values: NDArray[np.float64]
    affected: NDArray[np.int64] | None = None
    affected_counts: NDArray[np.int64] | None = None
    affected_cosines: NDArray[np.float32] | None = None


class _Lists(NamedTuple):
    """Consecutive entries of the stream: lists of genes of one length, perturbed ones or a cell as it is."""

    cell_idx: int
    unperturbed: NDArray[np.int64]
    genes: NDArray[np.int64]
    """[E, P] tokens that go through the model."""
    overflow: int
    edits: EditBlock | None
    """None: ``genes`` is the unperturbed cell, E = 1."""

    def part(self, first: int, end: int) -> "_Lists":
        """Return some of the lists."""
        edits = None if self.edits is None else self.edits.part(first, end)
        return self._replace(genes=self.genes[first:end], edits=edits)


class _Pending(NamedTuple):
    """Results on their way to the host."""

    shifts: EditShifts
    values: HostCopy


def perturb_cells(
    encode: Encoder,
    cells: TokenizedCells,
    indices: NDArray[np.int64],
    perturbation: Perturbation,
    measure: Measure,
    *,
    layout: TokenLayout,
    max_tokens: int,
    include_gene_cosines: bool = False,
) -> Iterator[EditShifts]:
    """Perturb cells and measure how far each edit moves them.

    Args:
        encode: The model.
        cells: Tokenized cells.
        indices: [C] int64, which of them; each holds what ``perturbation.required_tokens`` names.
        perturbation: What is done.
        measure: What is measured.
        layout: Special tokens and context of the model.
        max_tokens: Tokens of a pack, at least the context.
        include_gene_cosines: Also give the cosine of every gene compared.

    Yields:
        Results in the order of the cells and of their edits.

    Raises:
        DataError: A cell was not tokenized for this model.
    """
    hidden_cells: dict[tuple[int, int], HiddenCell] = {}
    pending: list[_Pending] = []
    stream = _edits_stream(cells, indices, perturbation, layout)
    for pack, hidden_TH, starts in _through_model(encode, stream, layout, max_tokens):
        before, pending = pending, []
        entries = zip(pack, starts, strict=True)
        for (cell_idx, overflow, is_edit), group in groupby(entries, lambda entry: _group_of(entry[0])):
            members = list(group)
            if not is_edit:
                (((lists, start)),) = members
                hidden = _hidden_cell(hidden_TH, start, lists.genes.shape[1], layout)
                hidden_cells[cell_idx, overflow] = HiddenCell(hidden.genes.clone(), hidden.first.clone())
                continue
            pending.append(
                _measured(hidden_cells[cell_idx, overflow], hidden_TH, members, measure, layout, include_gene_cosines)
            )
        last = pack[-1].cell_idx
        hidden_cells = {key: cell for key, cell in hidden_cells.items() if key[0] == last}
        yield from map(_arrived, before)  # those of the last pack, while the device computes this one
    yield from map(_arrived, pending)


def _measured(
    cell: HiddenCell,
    hidden_TH: Tensor,
    members: "list[tuple[_Lists, int]]",
    measure: Measure,
    layout: TokenLayout,
    include_gene_cosines: bool,
) -> _Pending:
    """Measure edits of one cell that lie in one pack."""
    compared, sources_R = _compared_genes(hidden_TH, members, layout)
    found = {"values": shifts_of_edits(cell, compared, measure)}
    first = members[0][0]
    perturbed = [tokens for lists, _ in members if lists.edits is not None for tokens in lists.edits.perturbed]
    shifts = EditShifts(first.cell_idx, perturbed, np.empty((0, len(measure.columns))))
    if include_gene_cosines:
        found["affected_cosines"] = gene_cosines(cell, compared).float()
        shifts = shifts._replace(affected=first.unperturbed[sources_R], affected_counts=np.array(compared.counts))
    return _Pending(shifts, HostCopy(found))


def _arrived(pending: _Pending) -> EditShifts:
    arrived = pending.values.arrays()
    return pending.shifts._replace(values=arrived["values"], affected_cosines=arrived.get("affected_cosines"))


def embed_cells(
    encode: Encoder,
    cells: TokenizedCells,
    indices: NDArray[np.int64],
    embedding: EmbeddingKind,
    *,
    layout: TokenLayout,
    max_tokens: int,
) -> list[Tensor]:
    """Embed unperturbed cells: the arguments are as in :func:`perturb_cells`; C times [H] float64 on the CPU."""
    stream = (
        _Lists(cell_idx, genes, genes[None], 0, None) for cell_idx, genes in _genes_of_cells(cells, indices, layout)
    )
    embeddings: list[Tensor] = []
    for pack, hidden_TH, starts in _through_model(encode, stream, layout, max_tokens):
        for lists, start in zip(pack, starts, strict=True):
            cell = _hidden_cell(hidden_TH, start, lists.genes.shape[1], layout)
            pooled = cell.first.double() if embedding == "cls" else cell.genes.double().mean(dim=0)
            embeddings.append(pooled.cpu())
    return embeddings


def _genes_of_cells(
    cells: TokenizedCells, indices: NDArray[np.int64], layout: TokenLayout
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    for cell_idx in indices.tolist():
        tokens, _ = cells.read(np.array([cell_idx], dtype=np.int64))
        yield cell_idx, layout.genes_of(tokens, cell_idx)


def _edits_stream(
    cells: TokenizedCells, indices: NDArray[np.int64], perturbation: Perturbation, layout: TokenLayout
) -> Iterator[_Lists]:
    """Each cell, as often as edits of different overflow ask for, and its edits behind it."""
    for cell_idx, genes in _genes_of_cells(cells, indices, layout):
        known_overflows: set[int] = set()
        for edits in cell_edits(genes, perturbation, layout.max_genes):
            if edits.overflow not in known_overflows:
                known_overflows.add(edits.overflow)
                yield _Lists(cell_idx, genes, genes[None, : len(genes) - edits.overflow], edits.overflow, None)
            yield _Lists(cell_idx, genes, edits.tokens(genes), edits.overflow, edits)


def _group_of(lists: _Lists) -> tuple[int, int, bool]:
    return lists.cell_idx, lists.overflow, lists.edits is not None


def _through_model(
    encode: Encoder, stream: Iterable[_Lists], layout: TokenLayout, max_tokens: int
) -> Iterator[tuple[list[_Lists], Tensor, list[int]]]:
    """Pack the stream in its order; with each pack come its hidden states and where each entry starts in them."""
    num_specials = len(layout.prefix) + len(layout.suffix)
    for pack in _packs(stream, num_specials, max_tokens):
        sizes = [lists.genes.shape[0] * (lists.genes.shape[1] + num_specials) for lists in pack]
        lengths = np.concatenate([np.full(len(x.genes), x.genes.shape[1] + num_specials) for x in pack])
        batch = build_packed_batch(
            np.concatenate([layout.tokens_of(lists.genes).reshape(-1) for lists in pack]),
            lengths,
            np.arange(len(lengths), dtype=np.int64),
            max_tokens=sum(sizes),
            pad_token_id=0,
            sequences_multiple=1,
        )
        yield pack, encode(batch), (np.cumsum(sizes) - sizes).tolist()


def _packs(stream: Iterable[_Lists], num_specials: int, max_tokens: int) -> Iterator[list[_Lists]]:
    pack: list[_Lists] = []
    num_tokens = 0
    for lists in stream:
        (num_lists, num_genes), first = lists.genes.shape, 0
        length = num_genes + num_specials
        while first < num_lists:
            if pack and num_tokens + length > max_tokens:
                yield pack
                pack, num_tokens = [], 0
            end = min(num_lists, first + max((max_tokens - num_tokens) // length, 1))
            pack.append(lists.part(first, end))
            num_tokens += (end - first) * length
            first = end
    if pack:
        yield pack


def _hidden_cell(hidden_TH: Tensor, start: int, num_genes: int, layout: TokenLayout) -> HiddenCell:
    first_gene = start + len(layout.prefix)
    return HiddenCell(hidden_TH[first_gene : first_gene + num_genes], hidden_TH[start])


def _compared_genes(
    hidden_TH: Tensor, members: list[tuple[_Lists, int]], layout: TokenLayout
) -> tuple[ComparedGenes, NDArray[np.int64]]:
    """Gather the rows of all genes that edits of one cell share with it, and their places there, [R]."""
    rows, sources, counts, firsts = [], [], [], []
    for lists, start in members:
        assert lists.edits is not None
        num_edits, num_genes = lists.genes.shape
        length = num_genes + len(layout.prefix) + len(layout.suffix)
        first_E = start + length * np.arange(num_edits)
        row_EP = first_E[:, None] + np.arange(len(layout.prefix), len(layout.prefix) + num_genes)
        compared_EP = lists.edits.compared
        rows.append(row_EP[compared_EP])
        sources.append(lists.edits.sources[compared_EP])
        counts += np.count_nonzero(compared_EP, axis=1).tolist()
        firsts.append(first_E)
    sources_R = np.concatenate(sources)
    device = hidden_TH.device
    compared = ComparedGenes(
        states=hidden_TH[to_device(np.concatenate(rows), device)],
        sources=to_device(sources_R, device),
        counts=counts,
        first=hidden_TH[to_device(np.concatenate(firsts), device)],
    )
    return compared, sources_R
