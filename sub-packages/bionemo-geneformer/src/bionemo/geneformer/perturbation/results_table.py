# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of the shifts of one partition of the cells, with gene names instead of tokens."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bionemo.geneformer.embedding.encoder import Encoder
from bionemo.geneformer.perturbation.job import PerturbationJob
from bionemo.geneformer.perturbation.perturb_cells import EditShifts, perturb_cells
from bionemo.geneformer.perturbation.shift_table import gene_cosines_schema, shifts_schema
from bionemo.geneformer.perturbation.shifts import Measure


if TYPE_CHECKING:
    import pyarrow as pa


class ResultTables(NamedTuple):
    """Shifts of one partition of the cells."""

    shifts: "pa.Table"
    gene_cosines: "pa.Table | None"


def measure_partition(
    encode: Encoder, job: PerturbationJob, partition: NDArray[np.int64], states: Mapping[str, Tensor]
) -> ResultTables:
    """Perturb the cells of one partition.

    Args:
        encode: The model.
        job: The job.
        partition: [n] int64 cells, one of ``job.partitions``.
        states: Embedding of each state, empty without states.
    """
    import pyarrow as pa

    by_column = {} if job.states is None else {c: states[name] for c, name in job.states.columns.items()}
    measure = Measure(embedding=job.embedding, cosine=job.cosine, states=by_column)
    results = list(
        perturb_cells(
            encode,
            job.cells.tokens,
            partition,
            job.perturbation,
            measure,
            layout=job.layout,
            max_tokens=job.max_tokens,
            include_gene_cosines=job.include_gene_cosines,
        )
    )
    anchor = None if job.perturbation.anchor is None else job.naming.gene(job.perturbation.anchor)
    schema = shifts_schema(job.columns, job.scope, anchor)
    shifts = pa.Table.from_pydict(_shift_columns(results, job), schema=schema)
    gene_cosines = None
    if job.include_gene_cosines:
        gene_cosines = pa.concat_tables([gene_cosines_schema().empty_table(), *_gene_cosine_tables(results, job)])
    return ResultTables(shifts, gene_cosines)


def _shift_columns(results: list[EditShifts], job: PerturbationJob) -> dict[str, Any]:
    perturbation = job.perturbation
    labels = [job.naming.label(tokens) for result in results for tokens in result.perturbed]
    counts = [len(result.perturbed) for result in results]
    cell_ids = job.cells.ids[np.repeat([result.cell_idx for result in results], counts).astype(np.int64)]
    values = np.concatenate([np.empty((0, len(job.columns))), *(result.values for result in results)])
    return {
        "cell_id": cell_ids,
        "gene": [label.gene for label in labels],
        "gene_name": [label.gene_name for label in labels],
        "token": [label.token for label in labels],
        "perturb_type": [perturbation.perturb_type] * len(labels),
        "rank_shift": [perturbation.rank_shift] * len(labels),
        **{name: values[:, column] for column, name in enumerate(job.columns)},
    }


def _gene_cosine_tables(results: list[EditShifts], job: PerturbationJob) -> "Iterator[pa.Table]":
    import pyarrow as pa

    naming = job.naming
    for result in results:
        assert result.affected is not None
        assert result.affected_counts is not None
        genes = np.array([naming.label(tokens).gene for tokens in result.perturbed])
        affected, places = np.unique(result.affected, return_inverse=True)
        affected_tokens = affected.tolist()
        columns = {
            "cell_id": np.full(len(places), job.cells.ids[result.cell_idx]),
            "gene": np.repeat(genes, result.affected_counts),
            "affected_gene": np.array([naming.gene(token) for token in affected_tokens])[places],
            "affected_gene_name": np.array([naming.gene_name(token) for token in affected_tokens])[places],
            "cosine": result.affected_cosines,
        }
        yield pa.Table.from_pydict(columns, schema=gene_cosines_schema())
