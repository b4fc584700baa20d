# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The work of ``predict_esm2``: proteins and a fine-tuned model in, a table of predictions out."""

import csv
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bionemo.core.config import to_yaml
from bionemo.core.files import write_text
from bionemo.core.partitioned_output import PartitionedOutput, join_parquet, partitioned_output, partitions_of
from bionemo.esm2.data.fasta_policy import FastaSummary, RejectedRecord
from bionemo.esm2.embedding.protein_file import Protein, ProteinFile
from bionemo.esm2.finetuning.config import PredictESM2Config
from bionemo.esm2.finetuning.head_layout import load_finetuned
from bionemo.esm2.finetuning.labeled_proteins import REJECTED_NAME, RejectedRow, write_rejected
from bionemo.esm2.finetuning.predictor import HeadPredictor, decode
from bionemo.esm2.finetuning.results import PREDICTIONS_NAME, write_predictions
from bionemo.esm2.run_fingerprint import run_fingerprint
from bionemo.llm.training.data_parallel_ranks import start_ranks
from bionemo.llm.training.trainer import resolve_accelerator, resolve_precision


logger = logging.getLogger(__name__)

CONFIG_NAME, CSV_NAME = "config.yaml", "predictions.csv"
TOKENS_PER_PARTITION = 2**19
"""Tokens through the model that are lost at most when a run is killed."""
WITHOUT_INFLUENCE = ("accelerator", "num_gpus", "num_nodes", "results_path", "data_path", "csv")
"""Settings that do not change the partitions; a run may be resumed with others."""


class Partition(NamedTuple):
    """Consecutive proteins that are predicted and written together."""

    number: int
    proteins: list[Protein]


def run_prediction(config: PredictESM2Config) -> Path:
    """Do what the command says.

    Returns:
        The folder written.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
    """
    accelerator = resolve_accelerator(config.accelerator)
    precision = resolve_precision(config.precision, accelerator)
    source = ProteinFile(
        path=config.data_path,
        sequence_column=config.sequence_column,
        id_column=config.id_column,
        on_illegal=config.illegal,
        on_bad_record="skip" if config.on_bad_row == "skip" else "error",
    )
    files = source.files()
    module = load_finetuned(config.checkpoint_path)
    ranks = start_ranks(accelerator, config.num_gpus, config.num_nodes)
    predictor = HeadPredictor(module.to(ranks.device), precision=precision, max_tokens=config.tokens_per_batch)
    logger.info("torch %s on %s, %d rank(s), %s", torch.__version__, ranks.device, ranks.world_size, precision)
    rejected: list[RejectedRow] = []

    def reject(record: RejectedRecord) -> None:
        rejected.append(RejectedRow(record.file, record.record, record.id, record.reason))

    def predict_partition(partition: Partition, folder: Path) -> None:
        outputs = predictor.outputs([protein.residues for protein in partition.proteins])
        write_predictions(
            decode(outputs, module.head_config),
            partition.proteins,
            module.head_config.level,
            folder / PREDICTIONS_NAME,
            probabilities=config.probabilities,
        )

    fingerprint = run_fingerprint(
        config, files, without=WITHOUT_INFLUENCE, tokens_per_batch=predictor.max_tokens, precision=precision
    )
    with partitioned_output(config.results_path, fingerprint, ranks) as output:
        output.compute(
            partitions(source, reject),
            predict_partition,
            size=lambda partition: len(partition.proteins),
            unit="protein",
            description="Predicting",
        )
        if output.is_main:
            finish(config, output, rejected)
    return config.results_path


def partitions(source: ProteinFile, on_rejected: Any) -> Iterator[Partition]:
    """Cut the stream of proteins into partitions by their tokens."""
    proteins = source.proteins(FastaSummary(), on_rejected)
    parts = partitions_of(proteins, size=lambda protein: len(protein.residues) + 2, max_size=TOKENS_PER_PARTITION)
    for number, part in enumerate(parts):
        yield Partition(number, part)


def finish(config: PredictESM2Config, output: PartitionedOutput, rejected: list[RejectedRow]) -> None:
    """Write what is made of all partitions; each step is skipped where an earlier call did it."""
    output.join(PREDICTIONS_NAME, join_parquet)
    if config.csv:
        write_csv(output.folder.part(PREDICTIONS_NAME), output.folder.part(CSV_NAME))
    write_rejected(output.folder.part(REJECTED_NAME), rejected)
    if rejected:
        logger.warning("%d rows were left out, see %s", len(rejected), REJECTED_NAME)
    write_text(output.folder.part(CONFIG_NAME), to_yaml(config))
    output.remove_partitions()


def write_csv(parquet: Path, path: Path) -> None:
    """Write a table of predictions as CSV: lists as words, or for classes of a sequence separated by semicolons."""
    import pyarrow.parquet as pq

    table = pq.read_table(parquet)
    names = [name for name in table.column_names if not name.endswith("_probabilities")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for batch in table.select(names).to_batches(max_chunksize=1024):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            writer.writerow([_cell(value) for value in row])
    write_text(path, text.getvalue())


def _cell(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return ";".join(value) if value and isinstance(value[0], str) else " ".join(f"{part:.6g}" for part in value)
