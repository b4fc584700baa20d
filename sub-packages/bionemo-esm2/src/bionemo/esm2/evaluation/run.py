# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The work of ``evaluate_esm2``: a model and local data sets in, one report out."""

import logging
from pathlib import Path

from bionemo.core.config import to_yaml
from bionemo.core.files import atomic_directory, write_text
from bionemo.core.progress import progress_bar
from bionemo.esm2.esm2 import ESM2
from bionemo.esm2.evaluation.config import EvaluateESM2Config
from bionemo.esm2.evaluation.datasets import find_datasets
from bionemo.esm2.evaluation.report import MARKDOWN_NAME, write_report
from bionemo.esm2.evaluation.tasks import evaluate
from bionemo.llm.training.trainer import resolve_accelerator, resolve_precision


logger = logging.getLogger(__name__)


def run_evaluation(config: EvaluateESM2Config) -> Path:
    """Do what the command says.

    Returns:
        The report.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
    """
    accelerator = resolve_accelerator(config.accelerator)
    datasets = find_datasets(config.data_path, max_proteins=config.max_proteins, seed=config.seed)
    model = ESM2.from_pretrained(
        config.checkpoint_path,
        device="cuda" if accelerator == "gpu" else "cpu",
        precision=resolve_precision(config.precision, accelerator),
    )
    results = []
    with atomic_directory(config.results_path, overwrite=config.overwrite) as folder:
        for dataset in progress_bar(datasets, unit="data set", description="Evaluating"):
            logger.info("%s: %s, %d proteins", dataset.path, dataset.kind, len(dataset.sequences))
            found = evaluate(dataset, model, num_folds=config.num_folds, seed=config.seed)
            for result in found:
                for score in result.scores:
                    logger.info("%s: %s: %s %.4f", result.task, score.method, score.metric, score.value)
            results += found
        write_report(folder, str(config.checkpoint_path), results)
        write_text(folder / "config.yaml", to_yaml(config))
    return config.results_path / MARKDOWN_NAME
