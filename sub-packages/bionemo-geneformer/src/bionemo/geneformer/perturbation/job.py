# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""One perturbation job: what is done to which cells, and what is measured; nothing is written here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bionemo.core.errors import ConfigError
from bionemo.geneformer.data.open_cells import Cells
from bionemo.geneformer.embedding.encoder import Encoder
from bionemo.geneformer.embedding.pooling import EmbeddingKind
from bionemo.geneformer.perturbation.edits import Perturbation
from bionemo.geneformer.perturbation.gene_naming import GeneNaming
from bionemo.geneformer.perturbation.perturb_cells import TokenLayout, embed_cells
from bionemo.geneformer.perturbation.selection import (
    CellStates,
    cells_of_states,
    cells_to_perturb,
    cells_with_values,
    costs_of_cells,
    partitions_by_cost,
)
from bionemo.geneformer.perturbation.settings import PerturbationSettings
from bionemo.geneformer.perturbation.shift_table import Scope
from bionemo.geneformer.perturbation.shifts import CosineKind, Measure, state_embedding
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import Variant
from bionemo.llm.training.data_parallel_ranks import DataParallelRanks


PACKS_PER_PARTITION = 32
"""Packed batches that are lost at most when a run is killed, beside those of one cell."""


@dataclass(frozen=True, kw_only=True)
class PerturbationJob:
    """What is perturbed, in which cells, and what is measured.

    Attributes:
        perturbation: What is done to a cell.
        embedding: ``cls`` or ``cell``.
        cosine: What is measured without states.
        states: Measure the shift between states; None measures how far a cell moves.
        state_average: How the cells of a state become one embedding.
        include_gene_cosines: Also measure every gene of a perturbed cell.
        max_tokens: Tokens of a packed batch, at least the model's context.
        cells: All cells.
        partitions: Cells to perturb, each partition [n] int64.
        state_cells: State to its cells, [n] int64.
        naming: Names of genes.
        layout: Special tokens and context of the model.
    """

    perturbation: Perturbation
    embedding: EmbeddingKind
    cosine: CosineKind
    states: CellStates | None
    state_average: Literal["mean", "median"]
    include_gene_cosines: bool
    max_tokens: int
    cells: Cells
    partitions: list[NDArray[np.int64]]
    state_cells: dict[str, NDArray[np.int64]]
    naming: GeneNaming
    layout: TokenLayout

    @property
    def scope(self) -> Scope:
        """Which genes are perturbed."""
        if self.perturbation.genes is not None:
            return "group"
        return "all" if self.perturbation.anchor is None else "pairs"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the values of each edit."""
        return tuple(self.states.columns) if self.states is not None else Measure(embedding="cell").columns

    @property
    def num_cells(self) -> int:
        """Number of cells to perturb."""
        return sum(map(len, self.partitions))

    @property
    def num_tokens(self) -> int:
        """Tokens of all perturbed lists, about."""
        selected = np.concatenate([np.empty(0, np.int64), *self.partitions])
        return int(costs_of_cells(self.cells.tokens, selected, self.perturbation).sum())


def build_job(
    settings: PerturbationSettings,
    tokenizer: GeneTokenizer,
    open_data: Callable[[], Cells],
    *,
    max_length: int,
    max_tokens: int,
) -> PerturbationJob:
    """Turn a user's settings into a job for one model.

    Args:
        settings: What the user wants.
        tokenizer: Vocabulary of the model; its family decides on the default embedding.
        open_data: Opens the cells; called when the settings have been checked.
        max_length: Context of the model in tokens.
        max_tokens: Tokens of a packed batch where the settings leave it open.

    Raises:
        ConfigError: The family has no such embedding, or states are named twice.
        DataError: A gene, column or state does not exist, or no cell is left.
    """
    naming, variant = GeneNaming(tokenizer), tokenizer.variant
    perturbation = Perturbation(
        perturb_type=settings.perturb_type,
        rank_shift=settings.rank_shift,
        genes=naming.tokens(settings.genes) if settings.is_group else None,
        anchor=None if settings.anchor_gene is None else naming.tokens([settings.anchor_gene])[0],
    )
    embedding, cosine = choose_measure(settings, variant)
    states, conditions = states_of(settings), parse_conditions(settings.filter_cells)
    cells, layout = open_data(), layout_of(tokenizer, max_length)
    max_tokens = max(settings.tokens_per_batch or max_tokens, max_length)
    chosen = np.intersect1d(cells_with_values(cells, conditions, split=True), cells.indices)
    state_cells = {} if states is None else cells_of_states(cells, states, chosen)
    selected = cells_to_perturb(
        cells,
        chosen if states is None else state_cells[states.start],
        perturbation,
        num_specials=len(layout.prefix) + len(layout.suffix),
        max_cells=settings.max_cells,
        seed=settings.seed,
        gene_names=naming.gene_name,
    )
    return PerturbationJob(
        perturbation=perturbation,
        embedding=embedding,
        cosine=cosine,
        states=states,
        state_average=settings.state_average,
        include_gene_cosines=settings.gene_cosines,
        max_tokens=max_tokens,
        cells=cells,
        partitions=partitions_by_cost(cells.tokens, selected, perturbation, PACKS_PER_PARTITION * max_tokens),
        state_cells=state_cells,
        naming=naming,
        layout=layout,
    )


def choose_measure(settings: PerturbationSettings, variant: Variant) -> tuple[EmbeddingKind, CosineKind]:
    """Return the embedding and the cosine: V1 averages genes, the other families have a first token for the cell.

    Raises:
        ConfigError: The family has no first token.
    """
    embedding = settings.embedding or ("cell" if variant.cls_token is None else "cls")
    if embedding == "cls" and variant.cls_token is None:
        raise ConfigError(f"--embedding cls: {variant.name} has no first token for the cell. Use cell.")
    averages_genes = variant.cls_token is None and embedding == "cell"
    return embedding, settings.cosine or ("genes" if averages_genes else "pooled")


def states_of(settings: PerturbationSettings) -> CellStates | None:
    """Return the states that shifts are measured between, None without states.

    Raises:
        ConfigError: A state is named twice.
    """
    if settings.state_key is None:
        return None
    assert settings.start_state is not None
    assert settings.goal_state is not None
    return CellStates(
        key=settings.state_key,
        start=settings.start_state,
        goal=settings.goal_state,
        alternatives=settings.alt_states,
    )


def parse_conditions(texts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Read ``COLUMN=VALUE[,VALUE...]``; the values of a column that comes twice are taken together.

    Raises:
        ConfigError: A text has no ``=``.

    >>> parse_conditions(("cell_type=CD4-positive, alpha-beta T cell", "cell_type=B cell"))
    {'cell_type': ('CD4-positive, alpha-beta T cell', 'B cell')}
    """
    conditions: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--filter-cells {text}: expected COLUMN=VALUE[,VALUE...].")
        conditions[key] = (*conditions.get(key, ()), values)
    return conditions


def layout_of(tokenizer: GeneTokenizer, max_length: int) -> TokenLayout:
    """How a model with this vocabulary and context wants its cells."""
    prefix, suffix = (() if token_id is None else (token_id,) for token_id in (tokenizer.class_id, tokenizer.eos_id))
    return TokenLayout(max_length, prefix, suffix, tokenizer.vocab_size)


def embed_states(encode: Encoder, job: PerturbationJob, ranks: DataParallelRanks | None = None) -> dict[str, Tensor]:
    """Embed the cells of each state, every rank its share; state to its [H] embedding in float64."""
    states = {}
    for name, indices in job.state_cells.items():
        mine = indices if ranks is None else indices[ranks.rank :: ranks.world_size]
        embeddings = embed_cells(
            encode, job.cells.tokens, mine, job.embedding, layout=job.layout, max_tokens=job.max_tokens
        )
        if ranks is not None:
            embeddings = [embedding for part in ranks.gather(embeddings) for embedding in part]
        states[name] = state_embedding(torch.stack(embeddings), job.state_average)
    return states
