# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The work of ``evaluate_geneformer``: embeddings and labeled counts in, a report and a picture out."""

import csv
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo.core.config import to_yaml
from bionemo.core.errors import ConfigError, DataError, FormatError
from bionemo.core.files import atomic_directory, write_json, write_text
from bionemo.core.optional_deps import require
from bionemo.geneformer.data.cell_ids import distinct_ids
from bionemo.geneformer.data.count_sources import open_counts
from bionemo.geneformer.data.counts import CountSource
from bionemo.geneformer.embedding.results_table import read_embeddings
from bionemo.geneformer.evaluation.baselines import EXTRA, log_normalized, principal_components, variable_genes
from bionemo.geneformer.evaluation.config import EvaluateGeneformerConfig
from bionemo.geneformer.evaluation.metrics import batch_mixing, silhouette, stratified_folds, type_scores
from bionemo.geneformer.evaluation.picture import save_umaps
from bionemo.llm.figures.projection import project_umap


logger = logging.getLogger(__name__)

REPORT_NAME, TABLE_NAME, PICTURE_NAME, CONFIG_NAME = "report.json", "report.csv", "umap.png", "config.yaml"
PCA_NAME, HVG_NAME = "PCA", "HVG"


@dataclass(frozen=True)
class EvaluatedCells:
    """The cells that all representations are judged on.

    Attributes:
        rows: [C] int64, their rows in the data.
        labels: [C] type names.
        batches: [C] batch names, or None.
        embeddings: Name to [C, D].
        left_out: Why cells were left out, to how many.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.str_]
    batches: NDArray[np.str_] | None
    embeddings: dict[str, NDArray[np.float32]]
    left_out: dict[str, int]


def run_evaluation(config: EvaluateGeneformerConfig) -> Path:
    """Do what the command says.

    Returns:
        The folder written.

    Raises:
        BionemoError: Bad input; the message says which.
    """
    if config.results_path.exists():
        raise ConfigError(f"--results-path {config.results_path}: exists already. Choose another name or remove it.")
    for module in ("sklearn", "umap") if config.umap else ("sklearn",):
        require(module, extra=EXTRA)
    source = open_counts(config.data_path, layer=config.counts_layer, feature_type=config.feature_type)
    cells = choose_cells(config, source)
    features = dict(cells.embeddings)
    matrix = log_normalized(source, cells.rows)
    features[PCA_NAME] = principal_components(matrix, config.num_components, seed=config.seed)
    features[HVG_NAME] = variable_genes(matrix, config.num_variable_genes)
    scores = score_all(config, cells, features)
    with atomic_directory(config.results_path) as folder:
        write_json(folder / REPORT_NAME, report_of(config, cells, features, scores))
        write_table(folder / TABLE_NAME, scores)
        if config.umap:
            groups = {config.label_column: cells.labels}
            if cells.batches is not None and config.batch_column is not None:
                groups[config.batch_column] = cells.batches
            shown = {name: values for name, values in features.items() if name != HVG_NAME}
            projections = {name: project_umap(values, seed=config.seed, extra=EXTRA) for name, values in shown.items()}
            save_umaps(folder / PICTURE_NAME, projections, groups)
        write_text(folder / CONFIG_NAME, to_yaml(config))
    return config.results_path


def choose_cells(config: EvaluateGeneformerConfig, source: CountSource) -> EvaluatedCells:
    """Find the cells that have a label and every embedding.

    Raises:
        DataError: A column is missing, ids do not match, or too few cells or types are left.
    """
    obs = source.obs()
    for column in (config.label_column, config.batch_column):
        if column is not None and column not in obs.columns:
            raise DataError(f"{config.data_path}: no obs column {column!r}, found {list(map(str, obs.columns))}.")
    if config.id_column is None:
        ids = distinct_ids(np.asarray(obs.index.astype(str), dtype=str), str(config.data_path))
    else:
        ids = _column(obs, config.id_column, config)
    row_of = {cell_id: row for row, cell_id in enumerate(ids.tolist())}
    if len(row_of) < len(ids):
        raise DataError(f"{config.data_path}: cell ids repeat. Make them unique, or name another --id-column.")
    tables = {name: read_table(path) for name, path in named_paths(config.embeddings_path).items()}
    for name, table in tables.items():
        unknown = next((cell_id for cell_id in table if cell_id not in row_of), None)
        if unknown is not None:
            raise DataError(f"--embeddings-path {name}: cell {unknown!r} is not in {config.data_path}.")
    left_out = {"without every embedding": len(ids)}
    rows = np.array([row for cell_id, row in row_of.items() if all(cell_id in t for t in tables.values())], np.int64)
    left_out["without every embedding"] -= len(rows)
    is_labeled = ~obs[config.label_column].isna().to_numpy()[rows]
    left_out["without a label"] = int((~is_labeled).sum())
    rows = rows[is_labeled]
    if len(rows) > config.max_cells:
        left_out["beyond --max-cells"] = len(rows) - config.max_cells
        rows = np.sort(np.random.default_rng(config.seed).permutation(rows)[: config.max_cells])
    labels = np.asarray(obs[config.label_column].astype(str))[rows].astype(str)
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    is_enough = counts[codes] >= config.num_folds
    left_out["of types with fewer cells than folds"] = int((~is_enough).sum())
    if (counts >= config.num_folds).sum() < 2:
        raise DataError(
            f"--label-column {config.label_column}: fewer than two types have {config.num_folds} cells "
            f"(found {dict(zip(names.tolist(), counts.tolist(), strict=True))})."
        )
    rows, labels = rows[is_enough], labels[is_enough]
    batches = None
    if config.batch_column is not None:
        batches = np.asarray(obs[config.batch_column].astype(str))[rows].astype(str)
        if len(np.unique(batches)) < 2:
            raise DataError(f"--batch-column {config.batch_column}: all cells are of one batch. Leave it out.")
    embeddings = {name: np.stack([table[cell_id] for cell_id in ids[rows].tolist()]) for name, table in tables.items()}
    return EvaluatedCells(rows, labels, batches, embeddings, {why: n for why, n in left_out.items() if n})


def named_paths(texts: tuple[str, ...]) -> dict[str, Path]:
    """Read ``PATH`` or ``NAME=PATH``; a path alone is named after its last part.

    Raises:
        ConfigError: A name comes twice, or is that of a baseline.
    """
    named: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals:
            name, path = Path(text).name, text
        if name in named or name in (PCA_NAME, HVG_NAME):
            raise ConfigError(f"--embeddings-path {text}: the name {name!r} is taken. Give another one: NAME=PATH.")
        named[name] = Path(path)
    return named


def read_table(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read embeddings by cell id: a folder of ``infer_geneformer``, or an .h5ad file with one ``X_geneformer...``.

    Raises:
        FormatError: The file holds no embeddings, or several.
        DataError: The folder holds several embeddings.
    """
    if path.suffix == ".h5ad":
        import anndata

        adata = anndata.read_h5ad(path)
        keys = [key for key in adata.obsm if key.startswith("X_geneformer")]
        if len(keys) != 1:
            raise FormatError(f"{path}: expected one obsm key X_geneformer, found {list(adata.obsm)}.")
        ids, values = adata.obs_names.astype(str).tolist(), np.asarray(adata.obsm[keys[0]], dtype=np.float32)
    else:
        found, values = read_embeddings(path)
        ids = found.tolist()
    if not np.isfinite(values).all():
        raise DataError(f"{path}: holds an embedding that is not finite.")
    return dict(zip(ids, values, strict=True))


def score_all(
    config: EvaluateGeneformerConfig, cells: EvaluatedCells, features: Mapping[str, NDArray[np.float32]]
) -> dict[str, dict[str, float]]:
    """Judge every representation on the same folds."""
    _, labels = np.unique(cells.labels, return_inverse=True)
    folds = stratified_folds(labels, config.num_folds, seed=config.seed)
    scores = {}
    for name, values in features.items():
        scores[name] = type_scores(values, labels, folds) | {"silhouette": silhouette(values, labels)}
        if cells.batches is not None:
            _, batches = np.unique(cells.batches, return_inverse=True)
            scores[name]["batch_mixing"] = batch_mixing(values, batches)
        logger.info("%s: %s", name, ", ".join(f"{key} {value:.3f}" for key, value in scores[name].items()))
    return scores


def report_of(
    config: EvaluateGeneformerConfig,
    cells: EvaluatedCells,
    features: Mapping[str, NDArray[np.float32]],
    scores: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """What was measured on what."""
    names, counts = np.unique(cells.labels, return_counts=True)
    return {
        "data": str(config.data_path),
        "num_cells": len(cells.rows),
        "num_folds": config.num_folds,
        "seed": config.seed,
        "cells_of_types": dict(zip(names.tolist(), counts.tolist(), strict=True)),
        "left_out": cells.left_out,
        "representations": {
            name: {"num_features": int(features[name].shape[1]), **values} for name, values in scores.items()
        },
    }


def write_table(path: Path, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Write the scores as CSV, one representation a line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["representation", *next(iter(scores.values()))])
        writer.writerows([name, *values.values()] for name, values in scores.items())


def _column(obs: Any, name: str, config: EvaluateGeneformerConfig) -> NDArray[np.str_]:
    if name not in obs.columns:
        raise DataError(f"{config.data_path}: no obs column {name!r}, found {list(map(str, obs.columns))}.")
    return np.asarray(obs[name].astype(str))
