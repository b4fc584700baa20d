# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The files of an inference in the making: one for each portion of the cells, joined in the end.

Portions do not depend on the number of ranks: rank r of W writes portions r, r + W, ...; a killed call goes on with
those that are missing.

Letters: C cells of a portion, H hidden, G genes seen.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError, MissingFileError
from bionemo.core.files import atomic_file
from bionemo.core.progress import progress_bar
from bionemo.core.resumable import ResumableDirectory
from bionemo.geneformer.data.tokenized_cells import TokenizedCells
from bionemo.geneformer.embedding.embedder import CellEmbedder, CellOutputs
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.llm.training.data_parallel_ranks import DataParallelRanks


if TYPE_CHECKING:
    import pyarrow as pa


CELLS_NAME, CELLS_DIR, GENES_NAME = "cells.parquet", "cells", "gene_embeddings.parquet"
MAX_PORTION_BYTES = 256 * 2**20


def split_portions(
    indices: NDArray[np.int64], lengths: NDArray[np.int64], *, max_cells: int, bytes_per_token: int
) -> list[NDArray[np.int64]]:
    """Divide cells into runs of at most `max_cells`, and of what fits into a portion's memory.

    Args:
        indices: The cells.
        lengths: Tokens of each.
        max_cells: Cells of a portion.
        bytes_per_token: What is written of each token.
    """
    portions, start, size_bytes = [], 0, 0
    for place, length in enumerate(lengths.tolist()):
        size = length * bytes_per_token
        if place > start and (place - start == max_cells or size_bytes + size > MAX_PORTION_BYTES):
            portions.append(indices[start:place])
            start, size_bytes = place, 0
        size_bytes += size
    return [*portions, indices[start:]]


def write_portions(
    folder: ResumableDirectory,
    embedder: CellEmbedder,
    cells: TokenizedCells,
    cell_ids: NDArray[np.str_],
    portions: Sequence[NDArray[np.int64]],
    ranks: DataParallelRanks,
    *,
    include_genes: bool,
) -> None:
    """Write the portions of this rank that are missing; returns when those of all ranks are there."""
    import pyarrow.parquet as pq

    mine = range(ranks.rank, len(portions), ranks.world_size)
    with progress_bar(
        total=sum(len(portions[number]) for number in mine), unit="cell", description="Embedding"
    ) as bar:
        for number in mine:
            if not folder.has(part_name(number)):
                gene_means = embedder.new_gene_means() if include_genes else None
                outputs = embedder.embed(cells, portions[number], gene_means=gene_means)
                if gene_means is not None:
                    genes = np.flatnonzero(gene_means.counts_V.cpu().numpy())
                    with atomic_file(folder.part(genes_part_name(number))) as file:
                        np.savez(
                            file,
                            genes=genes,
                            sums=gene_means.sums_VH.cpu().numpy()[genes],
                            counts=gene_means.counts_V.cpu().numpy()[genes],
                        )
                with atomic_file(folder.part(part_name(number))) as file:
                    pq.write_table(cells_table(outputs, cell_ids[portions[number]]), file)
            bar.update(len(portions[number]))
    ranks.barrier()


def part_name(number: int) -> str:
    """File of a portion."""
    return f"part-{number:05d}.parquet"


def genes_part_name(number: int) -> str:
    """File of the sums of a portion's genes."""
    return f"genes-{number:05d}.npz"


def cells_table(outputs: CellOutputs, cell_ids: NDArray[np.str_]) -> "pa.Table":
    """What was computed of cells, by their ids: lists of float32 in columns named after what they are."""
    import pyarrow as pa

    columns: dict[str, pa.Array] = {"cell_id": pa.array(cell_ids.tolist(), pa.string())}
    for kind, embeddings_CH in outputs.embeddings.items():
        columns[kind] = _matrix(embeddings_CH)
    for name, values in outputs.predictions.items():
        columns[name] = _matrix(values) if values.ndim == 2 else pa.array(values.tolist())
    if outputs.input_ids:
        columns["input_ids"] = _ragged(outputs.input_ids, pa.array(np.concatenate(outputs.input_ids)))
    for name, parts in (("hidden_states", outputs.hidden_states), ("token_logits", outputs.token_logits)):
        if parts:
            columns[name] = _ragged(parts, _matrix(np.concatenate(parts)))
    return pa.table(columns)


def join_portions(folder: ResumableDirectory, num_portions: int) -> None:
    """Join the portions to one file."""
    import pyarrow.parquet as pq

    if folder.has(CELLS_NAME):
        return
    with atomic_file(folder.part(CELLS_NAME)) as file:
        with pq.ParquetWriter(file, pq.read_schema(folder.part(part_name(0)))) as writer:
            for number in range(num_portions):
                writer.write_table(pq.read_table(folder.part(part_name(number))))


def join_genes(folder: ResumableDirectory, num_portions: int, tokenizer: GeneTokenizer) -> None:
    """Average each gene's vectors over the cells of all portions: a table by gene."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if folder.has(GENES_NAME):
        return
    counts = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    sums: NDArray[np.float64] | None = None
    for number in range(num_portions):
        with np.load(folder.part(genes_part_name(number)), allow_pickle=False) as part:
            if sums is None:
                sums = np.zeros((tokenizer.vocab_size, part["sums"].shape[1]))
            sums[part["genes"]] += part["sums"]
            counts[part["genes"]] += part["counts"]
    assert sums is not None
    genes = np.flatnonzero(counts)
    ensembl_ids = tokenizer.ids_to_tokens(genes.tolist())
    table = pa.table(
        {
            "token": pa.array(genes),
            "ensembl_id": pa.array(ensembl_ids),
            "gene_symbol": pa.array([tokenizer.ens_to_gene.get(gene) for gene in ensembl_ids], pa.string()),
            "num_cells": pa.array(counts[genes]),
            "embedding": _matrix((sums[genes] / counts[genes, None]).astype(np.float32)),
        }
    )
    with atomic_file(folder.part(GENES_NAME)) as file:
        pq.write_table(table, file)


def remove_portions(folder: ResumableDirectory, num_portions: int) -> None:
    """Remove what was joined."""
    for number in range(num_portions):
        for name in (part_name(number), genes_part_name(number)):
            folder.part(name).unlink(missing_ok=True)


def keep_portions(folder: ResumableDirectory, num_portions: int) -> None:
    """Leave the portions as a folder of parquet files, which readers take as one table."""
    folder.part(CELLS_DIR).mkdir(exist_ok=True)
    for number in range(num_portions):
        if folder.has(part_name(number)):
            folder.part(part_name(number)).rename(folder.part(CELLS_DIR) / part_name(number))
        folder.part(genes_part_name(number)).unlink(missing_ok=True)


def read_embeddings(results_path: Path, kind: str | None = None) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
    """Read what `infer_geneformer` wrote.

    Args:
        results_path: The folder.
        kind: ``cell`` or ``cls``; None: the one that there is.

    Returns:
        Ids [C] and embeddings [C, H] of the cells.
    """
    import pyarrow.parquet as pq

    source, kinds = _cells_source(results_path), embedding_kinds(results_path)
    if kind is None and len(kinds) == 1:
        kind = kinds[0]
    if kind not in kinds:
        raise DataError(f"{results_path}: holds the embeddings {kinds}, asked for is {kind}.")
    table = pq.read_table(source, columns=["cell_id", kind])
    values = table.column(kind).combine_chunks()
    return np.asarray(table.column("cell_id").to_pylist()), values.flatten().to_numpy().reshape(len(table), -1)


def embedding_kinds(results_path: Path) -> list[str]:
    """The embeddings in a folder that `infer_geneformer` wrote."""
    import pyarrow.parquet as pq

    names = pq.ParquetDataset(_cells_source(results_path)).schema.names
    return [kind for kind in ("cls", "cell") if kind in names]


def _cells_source(results_path: Path) -> Path:
    for name in (CELLS_NAME, CELLS_DIR):
        if (results_path / name).exists():
            return results_path / name
    raise MissingFileError(f"{results_path}: holds no {CELLS_NAME}. Give a folder that infer_geneformer wrote.")


def _matrix(values: NDArray[np.float32]) -> "pa.Array":
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _ragged(parts: Sequence[NDArray[np.generic]], values: "pa.Array") -> "pa.Array":
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)
