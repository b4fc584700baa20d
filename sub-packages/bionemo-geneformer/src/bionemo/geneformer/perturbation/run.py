# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The work of ``perturb_geneformer``: cells and model in, a folder of shifts, statistics and a picture out.

The folder is filled partition by partition and appears when it is complete; a killed run is resumed.
"""

import logging
import zlib
from pathlib import Path
from typing import Any

import torch

from bionemo.core.config import to_mapping, to_yaml
from bionemo.core.errors import DataError
from bionemo.core.files import write_text
from bionemo.core.optional_deps import require
from bionemo.core.partitioned_output import join_parquet, partitioned_output
from bionemo.core.resumable import resumable_directory
from bionemo.geneformer.api import GeneformerMaskedLM, load_geneformer
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.open_cells import Cells, open_cells
from bionemo.geneformer.embedding.encoder import build_encoder, default_tokens_per_batch
from bionemo.geneformer.model.dictionary_files import read_model_dictionaries
from bionemo.geneformer.perturbation.config import PerturbGeneformerConfig, check_flags
from bionemo.geneformer.perturbation.job import PerturbationJob, build_job
from bionemo.geneformer.perturbation.shift_table import GENE_COSINES_NAME, SHIFTS_NAME, open_shifts
from bionemo.geneformer.perturbation.statistics import (
    StatisticsSettings,
    Table,
    compute_statistics,
    default_mode,
    write_table,
)
from bionemo.geneformer.perturbation.volcano import has_volcano, save_volcano
from bionemo.geneformer.perturbation.write_partitions import write_partitions
from bionemo.llm.checkpoints.model_source import model_fingerprint
from bionemo.llm.model.biobert.hidden_states import layer_index
from bionemo.llm.model.biobert.inference import choose_compiler
from bionemo.llm.training.data_parallel_ranks import start_ranks
from bionemo.llm.training.trainer import resolve_accelerator, resolve_precision


logger = logging.getLogger(__name__)

CONFIG_NAME, STATISTICS_NAME, VOLCANO_NAME = "config.yaml", "statistics.csv", "volcano.png"
WITHOUT_INFLUENCE = (
    "accelerator", "num_gpus", "num_nodes", "results_path", "statistics", "max_fdr", "min_detections"
)  # fmt: skip
"""Settings that do not change the shifts; a run may be resumed with others."""


def run_perturbation(config: PerturbGeneformerConfig) -> Path | None:
    """Do what the command says.

    Returns:
        The folder written; None on other ranks than 0.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
    """
    check_flags(config)
    if config.shifts_path is not None:
        return run_statistics(config)
    accelerator = resolve_accelerator(config.accelerator)
    assert config.checkpoint_path is not None
    module = load_geneformer(config.checkpoint_path)
    dictionaries = read_model_dictionaries(config, module.dictionaries, module.config, config.checkpoint_path)
    job = build_job_of(config, module, dictionaries, default_tokens_per_batch(accelerator))
    if config.statistics in ("auto", "mixture_model") and not config.is_group and not config.has_states:
        require("sklearn.mixture", extra="bionemo-geneformer[analysis]")
    precision = resolve_precision(config.precision, accelerator)
    backend = choose_compiler(
        config.compile,
        device=accelerator,
        precision=precision,
        num_tokens=job.num_tokens,
        max_tokens=job.max_tokens,
    )
    ranks = start_ranks(accelerator, config.num_gpus, config.num_nodes)
    encode = build_encoder(
        module.model.to(ranks.device),
        config.layer,
        precision=precision,
        has_repeats=True,
        compile_backend=backend,
        max_tokens=job.max_tokens,
    )
    logger.info(
        "torch %s on %s, %d rank(s), %s, packs of %d tokens, %d cells in %d partitions",
        torch.__version__, ranks.device, ranks.world_size, precision, job.max_tokens,
        job.num_cells, len(job.partitions),
    )  # fmt: skip
    fingerprint = fingerprint_of(config, job) | {"precision": precision, "compiled": backend is not None}
    with partitioned_output(config.results_path, fingerprint, ranks) as output:
        write_partitions(output, encode, job, ranks)
        if not output.is_main:
            return None
        shifts_path = output.join(SHIFTS_NAME, join_parquet)
        if job.include_gene_cosines:
            output.join(GENE_COSINES_NAME, join_parquet)
        write_statistics(config, shifts_path, output.folder.work_dir)
        write_text(output.folder.part(CONFIG_NAME), to_yaml(config))
        output.remove_partitions()
    return config.results_path


def run_statistics(config: PerturbGeneformerConfig) -> Path:
    """Compute statistics of earlier results into a folder of their own."""
    assert config.shifts_path is not None
    fingerprint = {name: value for name, value in to_mapping(config).items() if name != "results_path"}
    table = statistics_of(config, config.shifts_path)
    with resumable_directory(config.results_path, fingerprint) as folder:
        save_statistics(config, table, folder.work_dir)
        write_text(folder.part(CONFIG_NAME), to_yaml(config))
    return config.results_path


def build_job_of(
    config: PerturbGeneformerConfig, module: GeneformerMaskedLM, dictionaries: Dictionaries, tokens_per_batch: int
) -> PerturbationJob:
    """Turn the settings into a job.

    Raises:
        BionemoError: A gene, column or state does not exist, or no cell can be perturbed.
    """
    layer_index(config.layer, module.config.num_layers)
    reading = config.reading(max_length=module.config.seq_length, empty_cells="skip")

    def open_data() -> Cells:
        assert config.data_path is not None
        return open_cells(config.data_path, dictionaries, reading, id_column=config.id_column)

    return build_job(
        config,
        dictionaries.tokenizer,
        open_data,
        max_length=module.config.seq_length,
        max_tokens=tokens_per_batch,
    )


def fingerprint_of(config: PerturbGeneformerConfig, job: PerturbationJob) -> dict[str, Any]:
    """Everything that decides on the content of the partitions."""
    assert config.checkpoint_path is not None
    settings = {name: value for name, value in to_mapping(config).items() if name not in WITHOUT_INFLUENCE}
    return settings | {
        "weights": model_fingerprint(config.checkpoint_path),
        "tokens_per_batch": job.max_tokens,
        "cells": [zlib.crc32(partition.tobytes()) for partition in job.partitions],
        "lengths": zlib.crc32(job.cells.tokens.lengths.tobytes()),
    }


def write_statistics(config: PerturbGeneformerConfig, shifts_path: Path, directory: Path) -> None:
    """Write statistics of fresh shifts; hours of work are not thrown away because there are too few for a table."""
    if config.statistics == "none":
        return
    try:
        save_statistics(config, statistics_of(config, shifts_path), directory)
    except DataError as error:
        logger.warning("no statistics: %s", error)


def statistics_of(config: PerturbGeneformerConfig, shifts_path: Path) -> Table:
    """Compute the table that the settings ask for."""
    shifts = open_shifts(shifts_path)
    null = None if config.null_shifts_path is None else open_shifts(config.null_shifts_path)
    if config.statistics == "auto":
        mode = default_mode(shifts) if null is None else "vs_null"
    else:
        assert config.statistics != "none"
        mode = config.statistics
    settings = StatisticsSettings(max_fdr=config.max_fdr, min_detections=config.min_detections, seed=config.seed)
    return compute_statistics(mode, shifts, settings, null)


def save_statistics(config: PerturbGeneformerConfig, table: Table, directory: Path) -> None:
    """Write a table, and its volcano plot where it has one."""
    write_table(table, directory / STATISTICS_NAME)
    if has_volcano(table):
        save_volcano(table, directory / VOLCANO_NAME, max_fdr=config.max_fdr)
