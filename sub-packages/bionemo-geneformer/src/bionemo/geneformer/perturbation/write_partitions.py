# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a perturbation: states once, then the shifts of each partition of the cells."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bionemo.core.files import write_json
from bionemo.core.partitioned_output import PartitionedOutput
from bionemo.geneformer.embedding.encoder import Encoder
from bionemo.geneformer.perturbation.job import PerturbationJob, embed_states
from bionemo.geneformer.perturbation.results_table import measure_partition
from bionemo.geneformer.perturbation.shift_table import GENE_COSINES_NAME, SHIFTS_NAME
from bionemo.llm.training.data_parallel_ranks import DataParallelRanks


STATES_NAME = "states.json"


def write_partitions(
    output: PartitionedOutput, encode: Encoder, job: PerturbationJob, ranks: DataParallelRanks
) -> None:
    """Write the missing partitions of this rank, then wait until those of all ranks are written."""
    import pyarrow.parquet as pq

    states = read_or_embed_states(output.folder.part(STATES_NAME), encode, job, ranks)

    def write(partition: NDArray[np.int64], folder: Path) -> None:
        tables = measure_partition(encode, job, partition, states)
        if tables.gene_cosines is not None:
            pq.write_table(tables.gene_cosines, folder / GENE_COSINES_NAME)
        pq.write_table(tables.shifts, folder / SHIFTS_NAME)

    output.compute(job.partitions, write, unit="cell", description="Perturbing")


def read_or_embed_states(
    path: Path, encode: Encoder, job: PerturbationJob, ranks: DataParallelRanks
) -> dict[str, Tensor]:
    """Return the embeddings of the states, [H] float64: those that an earlier run left, or new ones."""
    if not job.state_cells:
        return {}
    is_known = path.exists()
    ranks.barrier()  # before rank 0 writes it
    if not is_known:
        states = embed_states(encode, job, ranks)
        if ranks.rank == 0:
            write_json(path, {name: state.tolist() for name, state in states.items()})
        return states
    content = json.loads(path.read_text(encoding="utf-8"))
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in content.items()}
