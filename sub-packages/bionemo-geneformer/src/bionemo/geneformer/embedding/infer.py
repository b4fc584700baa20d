# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The work of ``infer_geneformer``: cells and a model in, a folder of embeddings out."""

import logging
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bionemo.core.config import to_mapping, to_yaml
from bionemo.core.errors import ConfigError, DataError
from bionemo.core.files import write_text
from bionemo.core.partitioned_output import PartitionedOutput, join_parquet, partitioned_output, partitions_of
from bionemo.geneformer.api import GeneformerMaskedLM, load_geneformer
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.open_cells import Cells, CountReading, open_cells
from bionemo.geneformer.embedding.config import InferGeneformerConfig
from bionemo.geneformer.embedding.embedder import CellEmbedder, EmbeddingOptions
from bionemo.geneformer.embedding.encoder import default_tokens_per_batch
from bionemo.geneformer.embedding.h5ad_output import H5AD_NAME, write_h5ad
from bionemo.geneformer.embedding.predictions import CellHead, finetuned_head, masked_lm_of, sequence_length_head
from bionemo.geneformer.embedding.results_table import (
    CELLS_DIR,
    CELLS_NAME,
    GENE_SUMS_NAME,
    cells_table,
    join_genes,
    save_gene_sums,
)
from bionemo.geneformer.model.dictionary_files import read_model_dictionaries
from bionemo.llm.checkpoints.model_source import model_fingerprint
from bionemo.llm.model.biobert.inference import choose_compiler
from bionemo.llm.training.data_parallel_ranks import start_ranks
from bionemo.llm.training.trainer import resolve_accelerator, resolve_precision


logger = logging.getLogger(__name__)

CONFIG_NAME = "config.yaml"
CELLS_PER_PARTITION, CELLS_PER_PARTITION_OF_GENES = 8192, 65_536
"""Cells that are lost at most when a run is killed; sums of genes are large, so that they get fewer files."""
MAX_PARTITION_BYTES = 256 * 2**20

WITHOUT_INFLUENCE = (
    "accelerator", "num_gpus", "num_nodes", "num_dataset_workers", "results_path", "prediction_interval", "format",
)  # fmt: skip
"""Settings that do not change the partitions; a run may be resumed with others."""


def run_inference(config: InferGeneformerConfig) -> Path:
    """Do what the command says.

    Returns:
        The folder written.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
    """
    accelerator = resolve_accelerator(config.accelerator)
    module = load_geneformer(config.checkpoint_path)
    head = open_head(config)
    module = masked_lm_of(module, head)
    dictionaries = read_model_dictionaries(config, module.dictionaries, module.config, config.checkpoint_path)
    cells = open_cells(config.data_dir, dictionaries, reading_of(config, module), id_column=config.id_column)
    num_tokens = int(np.minimum(cells.tokens.lengths[cells.indices], module.config.seq_length).sum())
    options = options_of(config, module, dictionaries, accelerator, num_tokens=num_tokens)
    indices = cells.indices
    if len(set(cells.ids[indices].tolist())) < len(indices):
        raise DataError(
            f"{config.data_dir}: two cells have the same id, so that results could not be told apart. "
            "Make the ids unique, or name another --id-column."
        )
    num_cut = int((cells.tokens.lengths[indices] > module.config.seq_length).sum())
    if num_cut:
        logger.warning("%d cells are cut to the model's context of %d tokens", num_cut, module.config.seq_length)
    partitions = split_cells(
        indices,
        np.minimum(cells.tokens.lengths[indices], module.config.seq_length),
        max_cells=CELLS_PER_PARTITION_OF_GENES if config.include_gene_embeddings else CELLS_PER_PARTITION,
        bytes_per_token=4 * module.config.hidden_size * config.include_hiddens
        + 4 * module.config.vocab_size * config.include_logits,
    )
    ranks = start_ranks(accelerator, config.num_gpus, config.num_nodes)
    if head is not None:
        head.module.to(ranks.device)
    embedder = CellEmbedder(module.to(ranks.device), dictionaries.tokenizer, options, head=head)
    logger.info(
        "torch %s on %s, %d rank(s), %s, packs of %d tokens, %d cells in %d partitions",
        torch.__version__, ranks.device, ranks.world_size, options.precision, options.max_tokens, len(indices),
        len(partitions),
    )  # fmt: skip
    with partitioned_output(config.results_path, fingerprint_of(config, options, cells), ranks) as output:
        output.compute(
            partitions, partial(embed_partition, config, embedder, cells), unit="cell", description="Embedding"
        )
        if output.is_main:
            finish(config, output, dictionaries, cells)
    return config.results_path


def split_cells(
    indices: NDArray[np.int64], lengths: NDArray[np.int64], *, max_cells: int, bytes_per_token: int
) -> list[NDArray[np.int64]]:
    """Cut cells into partitions of at most `max_cells`, and of what fits into memory.

    Args:
        indices: [C] int64, the cells.
        lengths: [C] int64, tokens of each.
        max_cells: Number of cells of a partition.
        bytes_per_token: Size of what is written of each token.
    """
    sizes = (lengths * bytes_per_token).tolist()
    places = partitions_of(
        range(len(indices)), size=sizes.__getitem__, max_size=MAX_PARTITION_BYTES, max_records=max_cells
    )
    return [indices[part[0] : part[-1] + 1] for part in places]


def embed_partition(
    config: InferGeneformerConfig, embedder: CellEmbedder, cells: Cells, partition: NDArray[np.int64], folder: Path
) -> None:
    """Embed some cells and write their files into a folder."""
    import pyarrow.parquet as pq

    gene_means = embedder.new_gene_means() if config.include_gene_embeddings else None
    outputs = embedder.embed(cells.tokens, partition, gene_means=gene_means)
    if gene_means is not None:
        save_gene_sums(gene_means, folder / GENE_SUMS_NAME)
    pq.write_table(cells_table(outputs, cells.ids[partition]), folder / CELLS_NAME)


def finish(config: InferGeneformerConfig, output: PartitionedOutput, dictionaries: Dictionaries, cells: Cells) -> None:
    """Write what is made of all partitions; each step is skipped where an earlier call did it."""
    folder = output.folder
    if config.include_gene_embeddings:
        join_genes(output, dictionaries.tokenizer)
    if config.prediction_interval == "epoch" or (config.format == "h5ad" and not folder.has(H5AD_NAME)):
        output.join(CELLS_NAME, join_parquet)
    if config.format == "h5ad" and not folder.has(H5AD_NAME):
        write_h5ad(folder.work_dir, cells, cells.indices)
    if config.prediction_interval == "batch":
        folder.part(CELLS_NAME).unlink(missing_ok=True)
        output.keep(CELLS_NAME, lambda number, _: f"{CELLS_DIR}/part-{number:05d}.parquet")
    write_text(folder.part(CONFIG_NAME), to_yaml(config))
    output.remove_partitions()


def open_head(config: InferGeneformerConfig) -> CellHead | None:
    """The head whose predictions are asked for."""
    if config.predictions:
        return finetuned_head(config.checkpoint_path)
    if config.config_class == "FineTuneSeqLenBioBertConfig":
        return sequence_length_head(config.checkpoint_path)
    return None


def options_of(
    config: InferGeneformerConfig,
    module: GeneformerMaskedLM,
    dictionaries: Dictionaries,
    accelerator: str,
    *,
    num_tokens: int,
) -> EmbeddingOptions:
    """What to compute, with the defaults of the model and the machine; `num_tokens` of all cells."""
    max_tokens = config.tokens_per_batch or default_tokens_per_batch(accelerator)
    if config.micro_batch_size is not None:
        max_tokens = config.micro_batch_size * (config.seq_length or module.config.seq_length)
    max_tokens = max(max_tokens, module.config.seq_length)
    precision = resolve_precision(config.precision, accelerator)
    has_head = config.predictions or config.config_class != "GeneformerConfig"
    kinds = config.embedding or (("cell",) if dictionaries.tokenizer.class_id is None else ("cls",))
    return EmbeddingOptions(
        kinds=tuple(dict.fromkeys(kinds)) if config.embeddings else (),
        layer=config.layer,
        max_tokens=max_tokens,
        precision=precision,
        compile_backend=choose_compiler(
            False if has_head else config.compile,
            device=accelerator,
            precision=precision,
            num_tokens=num_tokens,
            max_tokens=max_tokens,
        ),
        skip_last_gene=config.skip_last_gene,
        include_input_ids=config.include_input_ids,
        include_hiddens=config.include_hiddens,
        include_logits=config.include_logits,
        num_workers=config.num_dataset_workers,
    )


def reading_of(config: InferGeneformerConfig, module: GeneformerMaskedLM) -> CountReading:
    """How counts become cells of the model.

    Raises:
        ConfigError: The length asked for exceeds the model's context.
    """
    context = module.config.seq_length
    if config.seq_length is not None and config.seq_length > context:
        raise ConfigError(f"--seq-length {config.seq_length}: exceeds the model's context of {context} tokens.")
    return config.reading(
        max_length=config.seq_length or context,
        empty_cells=config.empty_cells,
        refuse_unknown_genes=config.include_unrecognized_vocab_in_dataset,
    )


def fingerprint_of(config: InferGeneformerConfig, options: EmbeddingOptions, cells: Cells) -> dict[str, Any]:
    """Everything that decides on the content of the partitions."""
    settings = {name: value for name, value in to_mapping(config).items() if name not in WITHOUT_INFLUENCE}
    return settings | {
        "weights": model_fingerprint(config.checkpoint_path),
        "tokens_per_batch": options.max_tokens,
        "precision": options.precision,
        "compiled": options.compile_backend is not None,
        "cells": zlib.crc32("\n".join(cells.ids[cells.indices].tolist()).encode()),
        "lengths": zlib.crc32(cells.tokens.lengths.tobytes()),
    }
