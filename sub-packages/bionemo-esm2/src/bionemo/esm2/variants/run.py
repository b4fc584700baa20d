# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The work of ``score_variants_esm2``: wild types, variants and a model in, a folder of scores out."""

import logging
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray

from bionemo.core.config import to_yaml
from bionemo.core.errors import DataError
from bionemo.core.files import atomic_directory, write_text
from bionemo.core.partitioned_output import PartitionedOutput, partitioned_output, partitions_of
from bionemo.esm2.api import load_esm2
from bionemo.esm2.data.fasta_policy import FastaSummary
from bionemo.esm2.data.tokenizer import VOCABULARY
from bionemo.esm2.embedding.protein_file import ProteinFile
from bionemo.esm2.run_fingerprint import run_fingerprint
from bionemo.esm2.variants.config import ScoreVariantsESM2Config
from bionemo.esm2.variants.heat_map import draw_html, draw_png, heat_map_of
from bionemo.esm2.variants.masked_copies import ForwardOptions, MaskedCopies, Question
from bionemo.esm2.variants.results import (
    HEATMAPS_DIR,
    METRICS_NAME,
    REJECTED_NAME,
    SCORES_NAME,
    ScoreRow,
    metrics_json,
    metrics_of,
    read_scores,
    score_row,
    summary_lines,
    write_rejected,
    write_scores,
)
from bionemo.esm2.variants.scoring import ScoreOptions, VariantScorer, scan
from bionemo.esm2.variants.variant_file import VariantFile
from bionemo.esm2.variants.variant_table import RejectedRow, VariantRow, check_rows
from bionemo.esm2.variants.wild_types import WildType, decode_residues, join_chains
from bionemo.llm.training.data_parallel_ranks import start_ranks
from bionemo.llm.training.trainer import resolve_accelerator, resolve_precision


logger = logging.getLogger(__name__)

CONFIG_NAME, ANSWERS_NAME = "config.yaml", "answers.npy"
TOKENS_PER_PARTITION = 2**18
"""Tokens through the model that are lost at most when a run is killed, those of one longer question apart."""
WITHOUT_INFLUENCE = (
    *("accelerator", "num_gpus", "num_nodes", "results_path", "data_path", "variants_path"),
    *("auc_threshold", "num_bootstraps", "seed"),
)
"""Settings that do not change the partitions."""


def score_variants(config: ScoreVariantsESM2Config) -> Path:
    """Do what the command says.

    Returns:
        The folder written.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
    """
    accelerator = resolve_accelerator(config.accelerator)
    source = ProteinFile(path=config.data_path, sequence_column=config.sequence_column, id_column=config.id_column)
    files = source.files() + ([] if config.variants_path is None else [config.variants_path])
    wild_types = read_wild_types(source, config.complex, config.linker_length)
    variants, rejected = read_variants(config, wild_types)
    scorer = VariantScorer(variants, ScoreOptions(protocol=config.protocol, multi_mutants=config.multi_mutants))
    module = load_esm2(config.checkpoint_path)
    precision = resolve_precision(config.precision, accelerator)
    options = ForwardOptions(window=config.window, max_tokens=config.tokens_per_batch, precision=precision)
    MaskedCopies(module, options)  # refuses models that cannot score, before anything starts
    ranks = start_ranks(accelerator, config.num_gpus, config.num_nodes)
    copies = MaskedCopies(module.to(ranks.device), options)
    logger.info(
        "%d variants of %d protein(s), %s, %d questions; torch %s on %s, %d rank(s), %s, packs of %d tokens",
        len(variants), len({variant.wild_type.id for variant in variants}), config.protocol, len(scorer.questions),
        torch.__version__, ranks.device, ranks.world_size, precision, copies.max_tokens,
    )  # fmt: skip
    if rejected:
        logger.warning(
            "%d of %d rows are left out, see %s", len(rejected), len(rejected) + len(variants), REJECTED_NAME
        )
    fingerprint = run_fingerprint(
        config, files, without=WITHOUT_INFLUENCE, tokens_per_batch=copies.max_tokens, precision=precision
    )
    with partitioned_output(config.results_path, fingerprint, ranks) as output:
        output.compute(
            list(partitions_of(scorer.questions, size=copies.num_tokens, max_size=TOKENS_PER_PARTITION)),
            partial(answer_partition, copies),
            unit="position",
            description="Scoring",
        )
        if output.is_main:
            finish(config, output, scorer, rejected)
    return config.results_path


def read_wild_types(source: ProteinFile, complexes: Sequence[str], linker_length: int) -> dict[str, WildType]:
    """Read the wild types, or build the complexes asked for.

    Raises:
        DataError: An id occurs twice, or there is no such protein.
    """
    sequences: dict[str, str] = {}
    for protein in source.proteins(FastaSummary()):
        if protein.id in sequences:
            raise DataError(f"{source.path}: two wild types have the id {protein.id!r}. Rename one.")
        sequences[protein.id] = decode_residues(protein.residues)
    try:
        names = complexes or list(sequences)
        return {name: join_chains(sequences, name, linker_length) for name in names}
    except DataError as error:
        raise DataError(f"{source.path}: {error}") from error


def read_variants(
    config: ScoreVariantsESM2Config, wild_types: dict[str, WildType]
) -> tuple[list[VariantRow], list[RejectedRow]]:
    """Read the variants, or make those of a scan.

    Raises:
        DataError: See `check_rows`.
    """
    if config.variants_path is None:
        variants: list[VariantRow] = []
        for wild_type in wild_types.values():
            variants += scan(wild_type, offset=config.offset or 0, first_row=len(variants))
        return variants, []
    file = VariantFile(
        path=config.variants_path,
        variant_column=config.variant_column,
        protein_column=config.protein_column,
        chain_column=config.chain_column,
        measured_column=config.measured_column,
    )
    return check_rows(
        list(file.rows()),
        wild_types,
        offset=config.offset,
        on_bad_row=config.on_bad_row,
        source=str(config.variants_path),
    )


def answer_partition(copies: MaskedCopies, questions: Sequence[Question], folder: Path) -> None:
    """Answer some questions and write the answers, one after the other as flat float64 values."""
    answers = copies.answer(questions)
    np.save(folder / ANSWERS_NAME, np.concatenate([answer.ravel() for answer in answers]))
    np.save(folder / "sizes.npy", np.array([answer.size for answer in answers], dtype=np.int64))


def read_answers(paths: Sequence[Path]) -> Iterator[NDArray[np.float64]]:
    """Iterate over the answers of all partitions."""
    for path in paths:
        values, sizes = np.load(path), np.load(path.with_name("sizes.npy"))
        for answer in np.split(values, np.cumsum(sizes)[:-1]):
            yield answer if len(answer) == 1 else answer.reshape(-1, len(VOCABULARY))


def finish(
    config: ScoreVariantsESM2Config, output: PartitionedOutput, scorer: VariantScorer, rejected: Sequence[RejectedRow]
) -> None:
    """Write what is made of all partitions."""

    def write(paths: Sequence[Path], file: IO[bytes]) -> None:
        answers = list(read_answers([path.with_name(ANSWERS_NAME) for path in paths]))
        write_scores(map(score_row, scorer.scores(answers)), file)

    rows = read_scores(output.join(SCORES_NAME, write))
    metrics = metrics_of(rows, threshold=config.auc_threshold, num_bootstraps=config.num_bootstraps, seed=config.seed)
    if metrics:
        write_text(output.folder.part(METRICS_NAME), metrics_json(metrics))
        for line in summary_lines(metrics):
            logger.info("%s", line)
    if rejected:
        write_rejected(rejected, output.folder.part(REJECTED_NAME))
    write_heat_maps(rows, output.folder.part(HEATMAPS_DIR))
    write_text(output.folder.part(CONFIG_NAME), to_yaml(config))
    output.remove_partitions()


def write_heat_maps(rows: Sequence[ScoreRow], folder: Path) -> None:
    """Draw each chain's single substitutions, unless an earlier call did; the folder appears when all are drawn."""
    if folder.exists():
        return
    by_chain: dict[tuple[str, str], list[ScoreRow]] = {}
    for row in rows:
        by_chain.setdefault((row.protein, row.chain), []).append(row)
    with atomic_directory(folder) as drawn:
        for number, ((protein, chain), of_chain) in enumerate(by_chain.items()):
            heat_map = heat_map_of(of_chain, f"{protein} {chain}".strip())
            if heat_map is None:
                continue
            name = re.sub(r"[^\w.-]", "_", f"{protein}-{chain}" if chain else protein)[:80]
            name = name if len(by_chain) == 1 else f"{number:04d}-{name}"
            (drawn / f"{name}.png").write_bytes(draw_png(heat_map))
            (drawn / f"{name}.html").write_text(draw_html(heat_map), encoding="utf-8")
