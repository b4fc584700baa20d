# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a perturbation in the making: one for each portion of the cells, joined in the end.

Portions do not depend on the number of ranks: rank r of W writes portions r, r + W, ...; a killed call goes on with
those that are missing, with the same states.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bionemo.core.files import atomic_file, write_json
from bionemo.core.progress import progress_bar
from bionemo.core.resumable import ResumableDirectory
from bionemo.geneformer.embedding.encoder import Encoder
from bionemo.geneformer.perturbation.job import PreparedJob, embed_states
from bionemo.geneformer.perturbation.results_table import measure_portion
from bionemo.geneformer.perturbation.shift_table import GENE_COSINES_NAME, SHIFTS_NAME
from bionemo.llm.training.data_parallel_ranks import DataParallelRanks


if TYPE_CHECKING:
    import pyarrow as pa


STATES_NAME = "states.json"


def measure_all(folder: ResumableDirectory, encode: Encoder, prepared: PreparedJob, ranks: DataParallelRanks) -> None:
    """Write the portions of this rank that are missing; returns when those of all ranks are there."""
    states = read_or_embed_states(folder, encode, prepared, ranks)
    mine = range(ranks.rank, len(prepared.portions), ranks.world_size)
    with progress_bar(total=sum(len(prepared.portions[number]) for number in mine), unit="cell") as bar:
        for number in mine:
            portion = prepared.portions[number]
            if not folder.has(SHIFTS_NAME) and not folder.has(part_name(number)):
                tables = measure_portion(encode, prepared, portion, states)
                if tables.gene_cosines is not None:
                    write_parquet(tables.gene_cosines, folder.part(gene_part_name(number)))
                write_parquet(tables.shifts, folder.part(part_name(number)))
            bar.update(len(portion))
    ranks.barrier()


def read_or_embed_states(
    folder: ResumableDirectory, encode: Encoder, prepared: PreparedJob, ranks: DataParallelRanks
) -> dict[str, Tensor]:
    """The states' embeddings: those that an earlier call left, or new ones."""
    if not prepared.state_cells:
        return {}
    path = folder.part(STATES_NAME)
    is_known = path.exists()
    ranks.barrier()  # before rank 0 writes it
    if not is_known:
        states = embed_states(encode, prepared, ranks)
        if ranks.rank == 0:
            write_json(path, {name: state.tolist() for name, state in states.items()})
        return states
    content = json.loads(path.read_text(encoding="utf-8"))
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in content.items()}


def _join(folder: ResumableDirectory, name: str, name_of: Callable[[int], str], num_parts: int) -> None:
    """Join the parts of all portions to one file."""
    import pyarrow.parquet as pq

    if folder.has(name):
        return
    with atomic_file(folder.part(name)) as file:
        schema = pq.read_schema(folder.part(name_of(0)))
        with pq.ParquetWriter(file, schema) as writer:
            for number in range(num_parts):
                writer.write_table(pq.read_table(folder.part(name_of(number))))


def join_portions(folder: ResumableDirectory, prepared: PreparedJob) -> None:
    """Join the portions' files; the parts stay until :func:`remove_portions`."""
    num_parts = len(prepared.portions)
    _join(folder, SHIFTS_NAME, part_name, num_parts)
    if prepared.job.include_gene_cosines:
        _join(folder, GENE_COSINES_NAME, gene_part_name, num_parts)


def remove_portions(folder: ResumableDirectory, prepared: PreparedJob) -> None:
    """Remove the portions' files once all else is written."""
    for number in range(len(prepared.portions)):
        for name in (part_name(number), gene_part_name(number)):
            folder.part(name).unlink(missing_ok=True)


def write_parquet(table: "pa.Table", path: Path) -> None:
    """Write one part, atomically."""
    import pyarrow.parquet as pq

    with atomic_file(path) as file:
        pq.write_table(table, file)


def part_name(number: int) -> str:
    """Name of a portion's shifts until all are joined."""
    return f"shifts-{number:06d}.parquet"


def gene_part_name(number: int) -> str:
    """Name of a portion's gene cosines until all are joined."""
    return f"gene_cosines-{number:06d}.parquet"
