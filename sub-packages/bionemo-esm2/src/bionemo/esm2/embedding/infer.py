# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The work of ``infer_esm2``: proteins and a model in, a folder of vectors out."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bionemo.core.config import to_yaml
from bionemo.core.files import atomic_directory, atomic_file, write_text
from bionemo.core.optional_deps import require
from bionemo.core.partitioned_output import PartitionedOutput, join_parquet, partitioned_output, partitions_of
from bionemo.core.resumable import discard_unfinished, unfinished_plan
from bionemo.esm2.api import ESM2MaskedLM, load_esm2
from bionemo.esm2.data.fasta_policy import REJECTED_NAME, FastaSummary, RejectedFile
from bionemo.esm2.data.tokenizer import VOCABULARY
from bionemo.esm2.embedding.bionemo2_files import (
    PADDED_VOCAB,
    PREDICTIONS_NAME,
    batch_name,
    join_predictions,
    write_predictions,
)
from bionemo.esm2.embedding.config import InferESM2Config
from bionemo.esm2.embedding.cpu_precision import (
    BFLOAT16,
    FLOAT32,
    MIN_INPUT_BYTES,
    SAMPLE_RESIDUES,
    choose_cpu_precision,
)
from bionemo.esm2.embedding.embedder import EmbeddingOptions, ProteinEmbedder, ProteinOutputs
from bionemo.esm2.embedding.length_limit import LengthLimit
from bionemo.esm2.embedding.plot import PLOT_EXTRA, PLOT_NAME, plot_embeddings
from bionemo.esm2.embedding.protein_file import OnRejected, Protein, ProteinFile
from bionemo.esm2.embedding.results import (
    RESIDUES_NAME,
    SEQUENCES_DIR,
    SEQUENCES_NAME,
    read_lengths,
    shard_name,
    write_outputs,
)
from bionemo.esm2.embedding.zarr_store import EXTRA as ZARR_EXTRA
from bionemo.esm2.embedding.zarr_store import ZARR_NAME, write_zarr
from bionemo.esm2.run_fingerprint import run_fingerprint
from bionemo.llm.model.biobert.inference import CPU_TOKENS_PER_BATCH, GPU_TOKENS_PER_BATCH, choose_compiler
from bionemo.llm.training.data_parallel_ranks import start_ranks
from bionemo.llm.training.trainer import resolve_accelerator, resolve_precision


logger = logging.getLogger(__name__)

CONFIG_NAME = "config.yaml"
TOKENS_PER_PARTITION = 2**19
"""Tokens through the model of one partition, in packed batches as of a CPU; more in proportion with larger ones. Two
partitions at most are lost when a run is killed."""
BYTES_PER_PARTITION = 128 * 2**20
"""Results of one partition, those of one longer protein apart; those of the one before are in memory too."""
SAMPLE_TOKENS = 1024
"""What --micro-batch-size counts: the longest sample of BioNeMo Framework 2."""
TEXT_SUFFIXES = (".fasta", ".fa", ".faa", ".csv", ".tsv")
COMPRESSION, TYPICAL_LENGTH = 2, 300
"""Residues for each byte of a compressed file, and of a protein: to guess how much work there is."""

WITHOUT_INFLUENCE = (
    "accelerator", "num_gpus", "num_nodes", "results_path", "data_path", "prediction_interval", "plot", "resume",
)  # fmt: skip
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
    options = options_of(config, accelerator, num_tokens=approximate_tokens(files, config.pseudo_perplexity))
    ProteinEmbedder(module, options)  # refuses layers that are not there, before anything starts
    if config.plot == "umap":
        require("umap", extra=PLOT_EXTRA)
    if config.format == "zarr":
        require("zarr", extra=ZARR_EXTRA)
    ranks = start_ranks(accelerator, config.num_gpus, config.num_nodes)
    if ranks.rank == 0 and not config.resume:
        discard_unfinished(config.results_path)
    if config.precision == "auto" and accelerator == "cpu":
        precision = cpu_precision(config, options, module, source, files) if ranks.rank == 0 else ""
        options = replace(options, precision=ranks.gather(precision)[0])
    embedder = ProteinEmbedder(module.to(ranks.device), options)
    logger.info(
        "torch %s on %s, %d rank(s), %s, packs of %d tokens",
        torch.__version__, ranks.device, ranks.world_size, options.precision, options.max_tokens,
    )  # fmt: skip
    summary = FastaSummary()
    with partitioned_output(config.results_path, fingerprint_of(config, options, files), ranks) as output:
        rejected = RejectedFile(output.folder.part(REJECTED_NAME)) if output.is_main else None
        limit = LengthLimit(config.length_policy, config.max_seq_length, str(config.data_path))
        partitions = split_proteins(source, options, embedder, summary, rejected, limit)
        output.compute(
            partitions,
            partial(write_partition, config.format),
            calculate=lambda partition: embedder.embed([protein.residues for protein in partition.proteins]),
            size=lambda partition: len(partition.proteins),
            unit="protein",
            description="Embedding",
        )
        if rejected is not None:
            rejected.close()
            summary.log(config.data_path)
            limit.log()
            if summary.num_records_rejected:
                logger.warning("%d records were left out, see %s", summary.num_records_rejected, REJECTED_NAME)
            finish(config, embedder, output)
    return config.results_path


def split_proteins(
    source: ProteinFile,
    options: EmbeddingOptions,
    embedder: ProteinEmbedder,
    summary: FastaSummary,
    on_rejected: OnRejected | None,
    limit: LengthLimit,
) -> Iterator[Partition]:
    """Cut the stream of proteins into partitions by the work they are and the memory that their results take."""
    config = embedder.module.config
    vector_bytes = 4 * config.hidden_size * len(embedder.layers)
    logit_bytes = 4 * (PADDED_VOCAB if options.special_tokens else len(VOCABULARY))
    residue_bytes = vector_bytes * options.include_hiddens + logit_bytes * options.include_logits
    sequence_bytes = vector_bytes * len(options.kinds)
    max_tokens = TOKENS_PER_PARTITION * max(options.max_tokens // CPU_TOKENS_PER_BATCH, 1)

    def size(protein: Protein) -> int:
        tokens = len(protein.residues) + 2
        work = tokens * (1 + len(protein.residues) * options.pseudo_perplexity)
        size_bytes = sequence_bytes + tokens * (1 + residue_bytes)
        return max(work * (BYTES_PER_PARTITION // max_tokens), size_bytes)

    proteins = map(limit, source.proteins(summary, on_rejected))
    for number, part in enumerate(partitions_of(proteins, size=size, max_size=BYTES_PER_PARTITION)):
        yield Partition(number, part)


def write_partition(file_format: str, partition: Partition, outputs: ProteinOutputs, folder: Path) -> None:
    """Write the files of some proteins into a folder."""
    if file_format == "pt":
        write_predictions(outputs, partition.proteins, partition.number, folder)
        return
    write_outputs(outputs, partition.proteins, partition.number, folder)


def finish(config: InferESM2Config, embedder: ProteinEmbedder, output: PartitionedOutput) -> None:
    """Write what is made of all partitions; each step is skipped where an earlier call did it."""
    each = config.prediction_interval == "batch"
    if config.format == "pt" and each:
        output.keep(PREDICTIONS_NAME, lambda number, _: batch_name(number))
    elif config.format == "pt":
        output.join(PREDICTIONS_NAME, join_predictions)
    elif each:
        output.keep(SEQUENCES_NAME, lambda number, _: f"{SEQUENCES_DIR}/part-{number:05d}.parquet")
    else:
        output.join(SEQUENCES_NAME, join_parquet)
    if config.format == "zarr":
        join_zarr(output)
    elif config.format == "parquet" and config.has_residues:
        output.keep(RESIDUES_NAME, lambda number, _: shard_name(number))
    if config.plot is not None:
        with atomic_file(output.folder.part(PLOT_NAME)) as file:
            name = next(iter(embedder.names(config.kinds[0]).values()))
            file.write(plot_embeddings(output.folder.work_dir, name, config.plot).encode())
    write_text(output.folder.part(CONFIG_NAME), to_yaml(config))
    output.remove_partitions()


def cpu_precision(
    config: InferESM2Config, options: EmbeddingOptions, module: ESM2MaskedLM, source: ProteinFile, files: list[Path]
) -> str:
    """Return what ``--precision auto`` means on this CPU: as unfinished work was begun, else what a check says."""
    begun_with = unfinished_plan(config.results_path).get("precision")
    if begun_with in (FLOAT32, BFLOAT16):
        return str(begun_with)
    if sum(file.stat().st_size for file in files) < MIN_INPUT_BYTES:
        return FLOAT32
    sample, num_residues = [], 0
    for protein in source.proteins(FastaSummary()):
        sample.append(protein.residues[: SAMPLE_RESIDUES - num_residues])
        num_residues += len(sample[-1])
        if num_residues == SAMPLE_RESIDUES:
            break
    return choose_cpu_precision(module, options, sample)


def join_zarr(output: PartitionedOutput) -> None:
    """Write what the partitions have of residues as one zarr store, unless an earlier call did."""
    folder = output.folder.part(ZARR_NAME)
    if not folder.exists():
        with atomic_directory(folder) as unfinished:
            unfinished.rmdir()
            write_zarr(output.files(RESIDUES_NAME), read_lengths(output.folder.work_dir), unfinished)


def approximate_tokens(files: Sequence[Path], pseudo_perplexity: bool) -> int:
    """Guess from the sizes of the input's files how many tokens go through the model."""
    sizes = (file.stat().st_size * (1 if file.suffix in TEXT_SUFFIXES else COMPRESSION) for file in files)
    return sum(sizes) * (TYPICAL_LENGTH if pseudo_perplexity else 1)


def options_of(config: InferESM2Config, accelerator: str, *, num_tokens: int) -> EmbeddingOptions:
    """What to compute, with the defaults of the machine; `num_tokens` is about how many there are in all."""
    max_tokens = config.tokens_per_batch or (CPU_TOKENS_PER_BATCH if accelerator == "cpu" else GPU_TOKENS_PER_BATCH)
    if config.micro_batch_size is not None:
        max_tokens = config.micro_batch_size * SAMPLE_TOKENS
    precision = resolve_precision(config.precision, accelerator)
    return EmbeddingOptions(
        kinds=config.kinds,
        layers=config.layers,
        max_tokens=max_tokens,
        precision=precision,
        compile_backend=choose_compiler(
            config.compile, device=accelerator, precision=precision, num_tokens=num_tokens, max_tokens=max_tokens
        ),
        include_hiddens=config.include_hiddens,
        include_logits=config.include_logits,
        include_input_ids=config.include_input_ids,
        pseudo_perplexity=config.pseudo_perplexity,
        window=config.max_seq_length if config.length_policy == "window" else None,
        special_tokens=config.format == "pt",
    )


def fingerprint_of(config: InferESM2Config, options: EmbeddingOptions, files: list[Path]) -> dict[str, Any]:
    """Everything that decides on the content of the partitions."""
    fingerprint = run_fingerprint(
        config, files, without=WITHOUT_INFLUENCE, tokens_per_batch=options.max_tokens, precision=options.precision
    )
    return fingerprint | {"compiled": options.compile_backend is not None}
