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
import torch
from numpy.typing import NDArray
from torch import Tensor

from bionemo.core.errors import DataError
from bionemo.geneformer.data.tokenized_cells import TokenizedCells
from bionemo.geneformer.embedding.encoder import Encoder
from bionemo.geneformer.embedding.pooling import EmbeddingKind
from bionemo.geneformer.perturbation.edits import Edit, Perturbation, cell_edits
from bionemo.geneformer.perturbation.shifts import (
    ComparedGenes,
    HiddenCell,
    Measure,
    gene_cosines,
    shifts_of_edits,
)
from bionemo.llm.data.packing import build_packed_batch


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
        """The opposite of :meth:`genes_of`."""
        return np.concatenate([self.prefix, genes, self.suffix]).astype(np.int64)


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


class _Sequence(NamedTuple):
    """One entry of the stream: a list of genes that goes through the model; ``edit`` None is the unperturbed cell."""

    cell_idx: int
    unperturbed: NDArray[np.int64]
    genes: NDArray[np.int64]
    overflow: int
    edit: Edit | None


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
    stream = _edits_stream(cells, indices, perturbation, layout)
    for pack, hidden_TH, starts in _through_model(encode, stream, layout, max_tokens):
        entries = zip(pack, starts, strict=True)
        for (cell_idx, overflow, is_edit), group in groupby(entries, lambda entry: _group_of(entry[0])):
            members = list(group)
            if not is_edit:
                (((sequence, start)),) = members
                hidden_cells[cell_idx, overflow] = _hidden_cell(hidden_TH, start, len(sequence.genes), layout)
                continue
            compared = _compared_genes(hidden_TH, members, layout)
            cell = hidden_cells[cell_idx, overflow]
            edits = [sequence.edit for sequence, _ in members if sequence.edit is not None]
            result = EditShifts(
                cell_idx,
                [edit.perturbed for edit in edits],
                shifts_of_edits(cell, compared, measure).cpu().numpy(),
            )
            if include_gene_cosines:
                unperturbed = members[0][0].unperturbed
                result = result._replace(
                    affected=unperturbed[compared.sources.cpu().numpy()],
                    affected_counts=compared.counts.cpu().numpy(),
                    affected_cosines=gene_cosines(cell, compared).float().cpu().numpy(),
                )
            yield result
        last = pack[-1].cell_idx
        hidden_cells = {key: cell for key, cell in hidden_cells.items() if key[0] == last}


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
        _Sequence(cell_idx, genes, genes, 0, None) for cell_idx, genes in _genes_of_cells(cells, indices, layout)
    )
    embeddings: list[Tensor] = []
    for pack, hidden_TH, starts in _through_model(encode, stream, layout, max_tokens):
        for sequence, start in zip(pack, starts, strict=True):
            cell = _hidden_cell(hidden_TH, start, len(sequence.genes), layout)
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
) -> Iterator[_Sequence]:
    """Each cell, as often as edits of different overflow ask for, and its edits behind it."""
    for cell_idx, genes in _genes_of_cells(cells, indices, layout):
        known_overflows: set[int] = set()
        for edit in cell_edits(genes, perturbation, layout.max_genes):
            if edit.overflow not in known_overflows:
                known_overflows.add(edit.overflow)
                yield _Sequence(cell_idx, genes, genes[: len(genes) - edit.overflow], edit.overflow, None)
            yield _Sequence(cell_idx, genes, edit.tokens(genes), edit.overflow, edit)


def _group_of(sequence: _Sequence) -> tuple[int, int, bool]:
    return sequence.cell_idx, sequence.overflow, sequence.edit is not None


def _through_model(
    encode: Encoder, stream: Iterable[_Sequence], layout: TokenLayout, max_tokens: int
) -> Iterator[tuple[list[_Sequence], Tensor, list[int]]]:
    """Pack the stream in its order; with each pack come its hidden states and where each sequence starts in them."""
    for pack in _packs(stream, len(layout.prefix) + len(layout.suffix), max_tokens):
        token_lists = [layout.tokens_of(sequence.genes) for sequence in pack]
        lengths = np.array([len(tokens) for tokens in token_lists], dtype=np.int64)
        num_tokens = int(lengths.sum())
        batch = build_packed_batch(
            np.concatenate(token_lists),
            lengths,
            np.arange(len(pack), dtype=np.int64),
            max_tokens=num_tokens,
            pad_token_id=0,
            sequences_multiple=1,
        )
        yield pack, encode(batch), (np.cumsum(lengths) - lengths).tolist()


def _packs(stream: Iterable[_Sequence], num_specials: int, max_tokens: int) -> Iterator[list[_Sequence]]:
    pack: list[_Sequence] = []
    num_tokens = 0
    for sequence in stream:
        length = len(sequence.genes) + num_specials
        if pack and num_tokens + length > max_tokens:
            yield pack
            pack, num_tokens = [], 0
        pack.append(sequence)
        num_tokens += length
    if pack:
        yield pack


def _hidden_cell(hidden_TH: Tensor, start: int, num_genes: int, layout: TokenLayout) -> HiddenCell:
    first_gene = start + len(layout.prefix)
    return HiddenCell(hidden_TH[first_gene : first_gene + num_genes], hidden_TH[start])


def _compared_genes(hidden_TH: Tensor, members: list[tuple[_Sequence, int]], layout: TokenLayout) -> ComparedGenes:
    """Gather the rows of all genes that edits of one cell share with it."""
    rows, sources = [], []
    for sequence, start in members:
        assert sequence.edit is not None
        compared = np.flatnonzero(sequence.edit.compared)
        rows.append(compared + (start + len(layout.prefix)))
        sources.append(sequence.edit.sources[compared])
    device = hidden_TH.device
    rows_R = torch.from_numpy(np.concatenate(rows)).to(device)
    return ComparedGenes(
        states=hidden_TH[rows_R],
        sources=torch.from_numpy(np.concatenate(sources)).to(device),
        counts=torch.tensor([len(r) for r in rows], device=device),
        first=hidden_TH[torch.tensor([start for _, start in members], device=device)],
    )
