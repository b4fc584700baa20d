# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Hidden states of a packed batch to one vector for each cell, and to means over cells for each gene.

Letters: T tokens of a packed batch, B cells, H hidden, V vocabulary; R rows of E means, D values a row.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from bionemo.core.errors import DataError


EmbeddingKind = Literal["cls", "cell"]


def gene_places(batch: Mapping[str, Any], special_ids: Sequence[int]) -> Tensor:
    """[T'] bool, which tokens that belong to cells are genes."""
    input_ids = batch["input_ids"][: batch["num_tokens"]]
    return ~torch.isin(input_ids, torch.tensor(special_ids, device=input_ids.device))


def pool_cells(
    hidden_TH: Tensor,
    batch: Mapping[str, Any],
    kind: EmbeddingKind,
    *,
    special_ids: Sequence[int],
    skip_last_gene: bool = False,
) -> Tensor:
    """Pool each cell of a packed batch.

    Args:
        hidden_TH: Hidden states of the packed batch.
        batch: The packed batch, on the same device.
        kind: ``cls``: the first token's vector. ``cell``: the mean over genes, special tokens excluded.
        special_ids: Ids of the special tokens.
        skip_last_gene: Leave out each cell's lowest gene, unless it is the only one, as BioNeMo Framework 2 does.

    Returns:
        [B, H] float32.

    Raises:
        DataError: A cell has no gene to average.
    """
    cu_seqlens = batch["cu_seqlens"][: batch["num_sequences"] + 1].to(torch.int64)
    if kind == "cls":
        return hidden_TH[cu_seqlens[:-1]].float()
    is_gene = gene_places(batch, special_ids)
    if skip_last_gene:
        is_gene = _without_last_genes(is_gene, cu_seqlens)
    counts = _genes_of_cells(is_gene, cu_seqlens)
    if bool((counts == 0).any()):
        raise DataError("A cell has no gene: leave empty cells out.")
    return segment_means(hidden_TH[: batch["num_tokens"]][is_gene], counts).float()


def segment_means(values: Tensor, counts: Tensor) -> Tensor:
    """Means of consecutive rows in float64: a thousand float32 vectors summed as such would lose three digits.

    Args:
        values: [R, D].
        counts: [E] int64, rows of each mean; their sum is R.

    Returns:
        [E, D] float64; of no rows it is not a number.
    """
    # "unsafe" leaves out checks of the counts that wait for the device.
    means: Tensor = torch.segment_reduce(values.double(), "mean", lengths=counts, axis=0, unsafe=True)
    return means


def _genes_of_cells(is_gene: Tensor, cu_seqlens: Tensor) -> Tensor:
    before = torch.cat([is_gene.new_zeros(1, dtype=torch.int64), is_gene.cumsum(0)])
    return before[cu_seqlens[1:]] - before[cu_seqlens[:-1]]


def _without_last_genes(is_gene: Tensor, cu_seqlens: Tensor) -> Tensor:
    places = torch.where(is_gene, torch.arange(len(is_gene), device=is_gene.device), -1)
    cell_of = torch.searchsorted(cu_seqlens[1:], torch.arange(len(is_gene), device=is_gene.device), right=True)
    last = torch.full_like(cu_seqlens[1:], -1).scatter_reduce(0, cell_of, places, "amax")
    kept = is_gene.clone()
    kept[last[_genes_of_cells(is_gene, cu_seqlens) > 1]] = False
    return kept


class GeneMeans:
    """Means of the vectors of each gene over all cells, added up in float64.

    Args:
        vocab_size: V.
        hidden_size: H.
        special_ids: Ids of the special tokens, which are left out.
        device: Where to add up.
    """

    def __init__(self, vocab_size: int, hidden_size: int, special_ids: Sequence[int], device: torch.device):
        self.sums_VH = torch.zeros(vocab_size, hidden_size, dtype=torch.float64, device=device)
        self.counts_V = torch.zeros(vocab_size, dtype=torch.int64, device=device)
        self._special_ids = special_ids

    def add(self, hidden_TH: Tensor, batch: Mapping[str, Any]) -> None:
        """Add the genes of a packed batch."""
        is_gene = gene_places(batch, self._special_ids)
        genes = batch["input_ids"][: batch["num_tokens"]][is_gene]
        self.sums_VH.index_add_(0, genes, hidden_TH[: batch["num_tokens"]][is_gene].double())
        self.counts_V += torch.bincount(genes, minlength=len(self.counts_V))

    def means(self) -> tuple[Tensor, Tensor, Tensor]:
        """Genes seen: their ids [G], means [G, H] float32 and numbers of cells [G]."""
        genes = torch.nonzero(self.counts_V).squeeze(1)
        counts = self.counts_V[genes]
        return genes, (self.sums_VH[genes] / counts.unsqueeze(1)).float(), counts
