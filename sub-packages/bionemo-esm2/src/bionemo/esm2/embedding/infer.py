# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The work of ``infer_esm2``: proteins and a model in, a folder of vectors out."""

import logging
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bionemo.core.config import to_mapping, to_yaml
from bionemo.core.files import write_text
from bionemo.core.partitioned_output import PartitionedOutput, join_parquet, partitioned_output, partitions_of
from bionemo.esm2.api import load_esm2
from bionemo.esm2.data.fasta_policy import REJECTED_NAME, FastaSummary, RejectedFile
from bionemo.esm2.data.tokenizer import VOCABULARY
from bionemo.esm2.embedding.config import InferESM2Config
from bionemo.esm2.embedding.embedder import (
    CPU_TOKENS_PER_BATCH,
    GPU_TOKENS_PER_BATCH,
    EmbeddingOptions,
    ProteinEmbedder,
)
from bionemo.esm2.embedding.protein_file import OnRejected, Protein, ProteinFile
from bionemo.esm2.embedding.results import RESIDUES_NAME, SEQUENCES_DIR, SEQUENCES_NAME, shard_name, write_outputs
from bionemo.llm.checkpoints.hf_directory import file_checksum
from bionemo.llm.checkpoints.model_source import model_fingerprint
from bionemo.llm.training.data_parallel_ranks import start_ranks
from bionemo.llm.training.trainer import resolve_accelerator, resolve_precision


logger = logging.getLogger(__name__)

CONFIG_NAME = "config.yaml"
TOKENS_PER_PARTITION = 2**19
"""Tokens through the model that are lost at most when a run is killed."""
BYTES_PER_PARTITION = 256 * 2**20
"""Results that are in memory at most, those of one longer protein apart."""
SAMPLE_TOKENS = 1024
"""What --micro-batch-size counts: the longest sample of BioNeMo Framework 2."""

WITHOUT_INFLUENCE = ("accelerator", "num_gpus", "num_nodes", "results_path", "data_path")
"""Settings that do not change the partitions; a run may be resumed with others."""


class Partition(NamedTuple):
    """Consecutive proteins that are computed and written together."""

    number: int
    proteins: list[Protein]


def run_inference(config: InferESM2Config) -> Path:
    """Do what the command says.

    Returns:
        The folder written.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
    """
    accelerator = resolve_accelerator(config.accelerator)
    source = ProteinFile(
        path=config.data_path,
        sequence_column=config.sequence_column,
        id_column=config.id_column,
        on_illegal=config.illegal,
        on_bad_record=config.on_bad_record,
    )
    files = source.files()
    module = load_esm2(config.checkpoint_path)
    options = options_of(config, accelerator)
    ProteinEmbedder(module, options)  # refuses layers that are not there, before anything starts
    ranks = start_ranks(accelerator, config.num_gpus, config.num_nodes)
    embedder = ProteinEmbedder(module.to(ranks.device), options)
    logger.info(
        "torch %s on %s, %d rank(s), %s, packs of %d tokens",
        torch.__version__, ranks.device, ranks.world_size, options.precision, options.max_tokens,
    )  # fmt: skip
    summary = FastaSummary()
    with partitioned_output(config.results_path, fingerprint_of(config, options, files), ranks) as output:
        rejected = RejectedFile(output.folder.part(REJECTED_NAME)) if output.is_main else None
        partitions = split_proteins(source, options, embedder, summary, rejected)
        output.compute(
            partitions,
            partial(embed_partition, embedder),
            size=lambda partition: len(partition.proteins),
            unit="protein",
            description="Embedding",
        )
        if rejected is not None:
            rejected.close()
            if summary.num_sequences:  # else an earlier run read the input
                summary.log(config.data_path)
            if summary.num_records_rejected:
                logger.warning("%d records were left out, see %s", summary.num_records_rejected, REJECTED_NAME)
            finish(config, output)
    return config.results_path


def split_proteins(
    source: ProteinFile,
    options: EmbeddingOptions,
    embedder: ProteinEmbedder,
    summary: FastaSummary,
    on_rejected: OnRejected | None,
) -> Iterator[Partition]:
    """Cut the stream of proteins into partitions by the work they are and the memory that their results take."""
    config = embedder.module.config
    vector_bytes = 4 * config.hidden_size * len(embedder.layers)
    residue_bytes = vector_bytes * options.include_hiddens + 4 * len(VOCABULARY) * options.include_logits
    sequence_bytes = vector_bytes * len(options.kinds)

    def size(protein: Protein) -> int:
        tokens = len(protein.residues) + 2
        work = tokens * (1 + len(protein.residues) * options.pseudo_perplexity)
        size_bytes = sequence_bytes + tokens * (1 + residue_bytes)
        return max(work * (BYTES_PER_PARTITION // TOKENS_PER_PARTITION), size_bytes)

    proteins = source.proteins(summary, on_rejected)
    for number, part in enumerate(partitions_of(proteins, size=size, max_size=BYTES_PER_PARTITION)):
        yield Partition(number, part)


def embed_partition(embedder: ProteinEmbedder, partition: Partition, folder: Path) -> None:
    """Embed some proteins and write their files into a folder."""
    outputs = embedder.embed([protein.residues for protein in partition.proteins])
    write_outputs(outputs, partition.proteins, partition.number, folder)


def finish(config: InferESM2Config, output: PartitionedOutput) -> None:
    """Write what is made of all partitions; each step is skipped where an earlier call did it."""
    if config.prediction_interval == "epoch":
        output.join(SEQUENCES_NAME, join_parquet)
    else:
        output.keep(SEQUENCES_NAME, lambda number, _: f"{SEQUENCES_DIR}/part-{number:05d}.parquet")
    if config.has_residues:
        output.keep(RESIDUES_NAME, lambda number, _: shard_name(number))
    write_text(output.folder.part(CONFIG_NAME), to_yaml(config))
    output.remove_partitions()


def options_of(config: InferESM2Config, accelerator: str) -> EmbeddingOptions:
    """What to compute, with the defaults of the machine."""
    max_tokens = config.tokens_per_batch or (CPU_TOKENS_PER_BATCH if accelerator == "cpu" else GPU_TOKENS_PER_BATCH)
    if config.micro_batch_size is not None:
        max_tokens = config.micro_batch_size * SAMPLE_TOKENS
    return EmbeddingOptions(
        kinds=config.kinds,
        layers=config.layers,
        max_tokens=max_tokens,
        precision=resolve_precision(config.precision, accelerator),
        include_hiddens=config.include_hiddens,
        include_logits=config.include_logits,
        include_input_ids=config.include_input_ids,
        pseudo_perplexity=config.pseudo_perplexity,
    )


def fingerprint_of(config: InferESM2Config, options: EmbeddingOptions, files: list[Path]) -> dict[str, Any]:
    """Everything that decides on the content of the partitions."""
    settings = {name: value for name, value in to_mapping(config).items() if name not in WITHOUT_INFLUENCE}
    return settings | {
        "input": [file_checksum(file) for file in files],
        "weights": model_fingerprint(config.checkpoint_path),
        "tokenizer": zlib.crc32(" ".join(VOCABULARY).encode()),
        "tokens_per_batch": options.max_tokens,
        "precision": options.precision,
    }
