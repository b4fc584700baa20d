# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of embeddings: cells and genes of a partition, genes of all, and reading the result.

Letters: C cells of a partition, H hidden, G genes seen.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError, MissingFileError
from bionemo.core.files import atomic_file
from bionemo.core.partitioned_output import PartitionedOutput
from bionemo.geneformer.embedding.embedder import CellOutputs
from bionemo.geneformer.embedding.pooling import GeneMeans
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer


if TYPE_CHECKING:
    import pyarrow as pa


CELLS_NAME, CELLS_DIR, GENES_NAME = "cells.parquet", "cells", "gene_embeddings.parquet"
GENE_SUMS_NAME = "gene_sums.npz"


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


def save_gene_sums(means: GeneMeans, path: Path) -> None:
    """Save what :func:`join_genes` adds up: sums [G, H] float32 and counts [G] of the genes of a partition."""
    genes = np.flatnonzero(means.counts_V.cpu().numpy())
    np.savez(path, genes=genes, sums=means.sums_VH.cpu().numpy()[genes], counts=means.counts_V.cpu().numpy()[genes])


def join_genes(output: PartitionedOutput, tokenizer: GeneTokenizer) -> None:
    """Average each gene's vectors over the cells of all partitions: a table by gene."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if output.folder.has(GENES_NAME):
        return
    counts = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    sums: NDArray[np.float64] | None = None
    for path in output.files(GENE_SUMS_NAME):
        with np.load(path, allow_pickle=False) as part:
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
    with atomic_file(output.folder.part(GENES_NAME)) as file:
        pq.write_table(table, file)


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
