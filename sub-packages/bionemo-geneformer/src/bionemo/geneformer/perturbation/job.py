# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""One perturbation of one set of cells, from what the user wants to tables of shifts; nothing is written here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bionemo.geneformer.perturbation.edits import Perturbation
from bionemo.geneformer.perturbation.engine import EditShifts, Encoder, TokenLayout, embed_cells, perturb_cells
from bionemo.geneformer.perturbation.gene_naming import GeneNaming
from bionemo.geneformer.perturbation.selection import (
    CellStates,
    LabelledCells,
    cells_of_states,
    cells_to_perturb,
    cells_with_values,
    portions,
)
from bionemo.geneformer.perturbation.shift_table import Scope, gene_cosines_schema, shifts_schema
from bionemo.geneformer.perturbation.shifts import CosineKind, EmbeddingKind, Measure, state_embedding
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.llm.data_parallel_ranks import DataParallelRanks


if TYPE_CHECKING:
    import pyarrow as pa


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
    cells: LabelledCells
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


def layout_of(tokenizer: GeneTokenizer, max_length: int) -> TokenLayout:
    """How a model with this vocabulary and context wants its cells."""
    prefix, suffix = (() if token_id is None else (token_id,) for token_id in (tokenizer.class_id, tokenizer.eos_id))
    return TokenLayout(max_length, prefix, suffix, tokenizer.vocab_size)


def prepare_job(
    job: PerturbationJob,
    cells: LabelledCells,
    among: NDArray[np.int64] | None,
    naming: GeneNaming,
    layout: TokenLayout,
) -> PreparedJob:
    """Choose the cells.

    Args:
        job: What to do.
        cells: The data.
        among: Cells to choose from; None: all.
        naming: Names of the model's genes.
        layout: How the model wants its cells.

    Raises:
        DataError: A column, state or gene is not there, or no cell is left.
    """
    job = replace(job, max_tokens=max(job.max_tokens, layout.max_length))
    chosen = cells_with_values(cells, job.conditions)
    if among is not None:
        chosen = np.intersect1d(chosen, among)
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


class PortionTables(NamedTuple):
    """What was measured of one portion of the cells."""

    shifts: "pa.Table"
    gene_cosines: "pa.Table | None"


def measure_portion(
    encode: Encoder, prepared: PreparedJob, portion: NDArray[np.int64], states: Mapping[str, Tensor]
) -> PortionTables:
    """Perturb the cells of one portion.

    Args:
        encode: The model.
        prepared: The job.
        portion: Cells, one of ``prepared.portions``.
        states: Embedding of each state, empty without states.
    """
    import pyarrow as pa

    job = prepared.job
    by_column = {} if job.states is None else {c: states[name] for c, name in job.states.columns.items()}
    measure = Measure(embedding=job.embedding, cosine=job.cosine, states=by_column)
    results = list(
        perturb_cells(
            encode,
            prepared.cells.tokens,
            portion,
            job.perturbation,
            measure,
            layout=prepared.layout,
            max_tokens=job.max_tokens,
            include_gene_cosines=job.include_gene_cosines,
        )
    )
    anchor = None if job.perturbation.anchor is None else prepared.naming.gene(job.perturbation.anchor)
    schema = shifts_schema(prepared.columns, job.scope, anchor)
    shifts = pa.Table.from_pydict(_shift_columns(results, prepared), schema=schema)
    gene_cosines = None
    if job.include_gene_cosines:
        gene_cosines = pa.concat_tables([gene_cosines_schema().empty_table(), *_gene_cosine_tables(results, prepared)])
    return PortionTables(shifts, gene_cosines)


def _shift_columns(results: list[EditShifts], prepared: PreparedJob) -> dict[str, Any]:
    perturbation = prepared.job.perturbation
    labels = [prepared.naming.label(tokens) for result in results for tokens in result.perturbed]
    counts = [len(result.perturbed) for result in results]
    cell_ids = prepared.cells.cell_ids[np.repeat([result.cell_idx for result in results], counts).astype(np.int64)]
    values = np.concatenate([np.empty((0, len(prepared.columns))), *(result.values for result in results)])
    return {
        "cell_id": cell_ids,
        "gene": [label.gene for label in labels],
        "gene_name": [label.gene_name for label in labels],
        "token": [label.token for label in labels],
        "perturb_type": [perturbation.perturb_type] * len(labels),
        "rank_shift": [perturbation.rank_shift] * len(labels),
        **{name: values[:, column] for column, name in enumerate(prepared.columns)},
    }


def _gene_cosine_tables(results: list[EditShifts], prepared: PreparedJob) -> "Iterator[pa.Table]":
    import pyarrow as pa

    naming = prepared.naming
    for result in results:
        assert result.affected is not None
        assert result.affected_counts is not None
        genes = np.array([naming.label(tokens).gene for tokens in result.perturbed])
        affected, places = np.unique(result.affected, return_inverse=True)
        affected_tokens = affected.tolist()
        columns = {
            "cell_id": np.full(len(places), prepared.cells.cell_ids[result.cell_idx]),
            "gene": np.repeat(genes, result.affected_counts),
            "affected_gene": np.array([naming.gene(token) for token in affected_tokens])[places],
            "affected_gene_name": np.array([naming.gene_name(token) for token in affected_tokens])[places],
            "cosine": result.affected_cosines,
        }
        yield pa.Table.from_pydict(columns, schema=gene_cosines_schema())
