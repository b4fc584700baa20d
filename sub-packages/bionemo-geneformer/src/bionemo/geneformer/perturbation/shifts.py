# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""How far a perturbation moves a cell in embedding space.

Letters: E edits of one cell, R compared genes of all of them, G genes of the unperturbed cell, H hidden, M states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bionemo.core.errors import ConfigError
from bionemo.geneformer.embedding.pooling import EmbeddingKind, segment_means


CosineKind = Literal["pooled", "genes"]
COSINE = "cosine"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What is measured of every edit.

    Attributes:
        embedding: ``cls``: the first token's vector; ``cell``: the mean over the genes that are compared.
        cosine: Without states: ``pooled`` is the cosine of the perturbed and the unperturbed embedding, ``genes`` the
            mean over compared genes of the cosine of a gene's two vectors.
        states: Name of a column, for example ``shift_to_goal``, to the [H] embedding of that state. A shift is
            cos(perturbed, state) - cos(unperturbed, state): positive is towards the state.
    """

    embedding: EmbeddingKind
    cosine: CosineKind = "pooled"
    states: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.cosine == "genes" and self.embedding == "cls":
            raise ConfigError("cosine genes: is a mean over genes, which leaves nothing for embedding cls to do.")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the values of each edit."""
        return tuple(self.states) or (COSINE,)


class HiddenCell(NamedTuple):
    """Hidden states of one unperturbed cell.

    Attributes:
        genes: [G, H] one vector for each gene.
        first: [H] vector of the first token.
    """

    genes: Tensor
    first: Tensor


class ComparedGenes(NamedTuple):
    """The genes that E edits of one cell have in common with it, edit after edit.

    Attributes:
        states: [R, H] vectors in the perturbed cells.
        sources: [R] int64, place of each in the unperturbed cell.
        counts: E numbers, how many belong to each edit, none of them 0; their sum is R.
        first: [E, H] vector of each perturbed cell's first token.
    """

    states: Tensor
    sources: Tensor
    counts: Sequence[int]
    first: Tensor


def shifts_of_edits(cell: HiddenCell, compared: ComparedGenes, measure: Measure) -> Tensor:
    """Measure the edits of one cell.

    Returns:
        [E, columns] float64 in the order of ``measure.columns``.
    """
    if not measure.states and measure.cosine == "genes":
        cosines_R = gene_cosines(cell, compared)
        return _means(cosines_R.unsqueeze(1), compared.counts)
    if measure.embedding == "cls":
        before_EH = cell.first.double().expand_as(compared.first)
        after_EH = compared.first.double()
    else:
        before_EH = _means(cell.genes[compared.sources], compared.counts)
        after_EH = _means(compared.states, compared.counts)
    if not measure.states:
        return F.cosine_similarity(before_EH, after_EH, dim=1).unsqueeze(1)
    states_MH = torch.stack(list(measure.states.values())).to(before_EH)
    return cosine_matrix(after_EH, states_MH) - cosine_matrix(before_EH, states_MH)


def _means(values_RD: Tensor, counts: Sequence[int]) -> Tensor:
    """Means over the genes of each edit, [E, D] float64; edits of one length are averaged as one array."""
    if min(counts) == max(counts):
        values_EPD: Tensor = values_RD.double().unflatten(0, (len(counts), counts[0]))
        return values_EPD.mean(dim=1)
    return segment_means(values_RD, torch.tensor(counts, device=values_RD.device))


def gene_cosines(cell: HiddenCell, compared: ComparedGenes) -> Tensor:
    """Cosine of each compared gene's vector before and after, [R]."""
    return F.cosine_similarity(cell.genes[compared.sources], compared.states, dim=1)


def cosine_matrix(left: Tensor, right: Tensor) -> Tensor:
    """Cosines of all rows of [E, H] with all rows of [M, H], [E, M]."""
    return F.normalize(left, dim=1) @ F.normalize(right, dim=1).T


def state_embedding(embeddings: Tensor, average: Literal["mean", "median"]) -> Tensor:
    """Where a state lies: mean or median, coordinate by coordinate, of its cells' [C, H] embeddings; [H] float64.

    The median of an even number of cells is the mean of the two in the middle, as NumPy's.
    """
    values = embeddings.double()
    if average == "mean":
        return values.mean(dim=0)
    return torch.quantile(values, 0.5, dim=0)
