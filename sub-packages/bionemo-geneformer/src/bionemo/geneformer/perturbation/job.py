# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""One perturbation of one set of cells, from what the user wants to tables of shifts; nothing is written here."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

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
    portions,
)
from bionemo.geneformer.perturbation.settings import PerturbationSettings
from bionemo.geneformer.perturbation.shift_table import Scope
from bionemo.geneformer.perturbation.shifts import CosineKind, Measure, state_embedding
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import Variant
from bionemo.llm.training.data_parallel_ranks import DataParallelRanks


PACKS_PER_PORTION = 32
"""Packs that are lost at most when a run is killed, beside those of one cell."""


@dataclass(frozen=True, kw_only=True)
class PerturbationJob:
    """What is perturbed, in which cells, and what is measured.

    Attributes:
        perturbation: What is done to a cell.
        embedding: ``cls`` or ``cell``.
        cosine: What is measured without states.
        states: Measure the shift between states; None measures how far a cell moves.
        state_average: How the cells of a state become one embedding.
        conditions: Column to the values that a cell must have one of.
        max_cells: Cells to perturb, drawn at random; None perturbs all.
        seed: Of the draw.
        include_gene_cosines: Also measure every gene of a perturbed cell.
        max_tokens: Tokens of a pack.
    """

    perturbation: Perturbation
    embedding: EmbeddingKind
    cosine: CosineKind = "pooled"
    states: CellStates | None = None
    state_average: Literal["mean", "median"] = "mean"
    conditions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_cells: int | None = None
    seed: int = 42
    include_gene_cosines: bool = False
    max_tokens: int = 4096

    @property
    def scope(self) -> Scope:
        """Which genes are perturbed."""
        if self.perturbation.genes is not None:
            return "group"
        return "all" if self.perturbation.anchor is None else "pairs"


class PreparedJob(NamedTuple):
    """A job whose cells are chosen.

    Attributes:
        job: The job, its packs large enough for the model's context.
        cells: All cells.
        portions: Cells to perturb, portion by portion.
        state_cells: State to its cells.
        naming: Names of genes.
        layout: How the model wants its cells.
    """

    job: PerturbationJob
    cells: Cells
    portions: list[NDArray[np.int64]]
    state_cells: dict[str, NDArray[np.int64]]
    naming: GeneNaming
    layout: TokenLayout

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the values of each edit."""
        return tuple(self.job.states.columns) if self.job.states is not None else Measure(embedding="cell").columns

    @property
    def num_cells(self) -> int:
        """Cells to perturb."""
        return sum(map(len, self.portions))


def build_job(
    settings: PerturbationSettings, naming: GeneNaming, *, variant: Variant, max_tokens: int
) -> PerturbationJob:
    """Turn a user's settings into a job for models of one family.

    Args:
        settings: What the user wants.
        naming: Names of the model's genes.
        variant: The model's family: V1 averages genes, the others have a first token for the cell.
        max_tokens: Tokens of a pack where the settings leave it open.

    Raises:
        ConfigError: The family has no such embedding, or states are named twice.
        DataError: A gene is not in the vocabulary.
    """
    perturbation = Perturbation(
        perturb_type=settings.perturb_type,
        rank_shift=settings.rank_shift,
        genes=naming.tokens(settings.genes) if settings.is_group else None,
        anchor=None if settings.anchor_gene is None else naming.tokens([settings.anchor_gene])[0],
    )
    embedding = settings.embedding or ("cell" if variant.cls_token is None else "cls")
    if embedding == "cls" and variant.cls_token is None:
        raise ConfigError(f"--embedding cls: {variant.name} has no first token for the cell. Use cell.")
    states = None
    if settings.state_key is not None:
        assert settings.start_state is not None
        assert settings.goal_state is not None
        states = CellStates(
            key=settings.state_key,
            start=settings.start_state,
            goal=settings.goal_state,
            alternatives=settings.alt_states,
        )
    averages_genes = variant.cls_token is None and embedding == "cell"
    return PerturbationJob(
        perturbation=perturbation,
        embedding=embedding,
        cosine=settings.cosine or ("genes" if averages_genes else "pooled"),
        states=states,
        state_average=settings.state_average,
        conditions=parse_conditions(settings.filter_cells),
        max_cells=settings.max_cells,
        seed=settings.seed,
        include_gene_cosines=settings.gene_cosines,
        max_tokens=settings.tokens_per_batch or max_tokens,
    )


def parse_conditions(texts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Read ``COLUMN=VALUE[,VALUE...]``.

    Raises:
        ConfigError: A text has no ``=``, or a column comes twice.
    """
    conditions: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        if not equals or not key or key in conditions:
            raise ConfigError(f"--filter-cells {text}: expected COLUMN=VALUE[,VALUE...], each column once.")
        conditions[key] = tuple(values.split(","))
    return conditions


def layout_of(tokenizer: GeneTokenizer, max_length: int) -> TokenLayout:
    """How a model with this vocabulary and context wants its cells."""
    prefix, suffix = (() if token_id is None else (token_id,) for token_id in (tokenizer.class_id, tokenizer.eos_id))
    return TokenLayout(max_length, prefix, suffix, tokenizer.vocab_size)


def prepare_job(
    job: PerturbationJob,
    cells: Cells,
    naming: GeneNaming,
    layout: TokenLayout,
) -> PreparedJob:
    """Choose the cells.

    Args:
        job: What to do.
        cells: The data.
        naming: Names of the model's genes.
        layout: How the model wants its cells.

    Raises:
        DataError: A column, state or gene is not there, or no cell is left.
    """
    job = replace(job, max_tokens=max(job.max_tokens, layout.max_length))
    chosen = np.intersect1d(cells_with_values(cells, job.conditions), cells.indices)
    state_cells = {} if job.states is None else cells_of_states(cells, job.states, chosen)
    selected = cells_to_perturb(
        cells,
        chosen if job.states is None else state_cells[job.states.start],
        job.perturbation,
        num_specials=len(layout.prefix) + len(layout.suffix),
        max_cells=job.max_cells,
        seed=job.seed,
        gene_names=naming.gene_name,
    )
    parts = portions(cells.tokens, selected, job.perturbation, PACKS_PER_PORTION * job.max_tokens)
    return PreparedJob(job, cells, parts, state_cells, naming, layout)


def embed_states(encode: Encoder, prepared: PreparedJob, ranks: DataParallelRanks | None = None) -> dict[str, Tensor]:
    """Embed the cells of each state, every rank its share; state to its [H] embedding in float64."""
    job = prepared.job
    states = {}
    for name, indices in prepared.state_cells.items():
        mine = indices if ranks is None else indices[ranks.rank :: ranks.world_size]
        embeddings = embed_cells(
            encode, prepared.cells.tokens, mine, job.embedding, layout=prepared.layout, max_tokens=job.max_tokens
        )
        if ranks is not None:
            embeddings = [embedding for part in ranks.gather(embeddings) for embedding in part]
        states[name] = state_embedding(torch.stack(embeddings), job.state_average)
    return states
