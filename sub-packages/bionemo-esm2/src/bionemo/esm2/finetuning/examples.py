# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""From the settings of a run to labeled proteins, the head that predicts their labels, and the splits.

Letters: P proteins, R residues, L columns of labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.esm2.embedding.protein_file import ProteinFile
from bionemo.esm2.finetuning.config import FinetuneESM2Config
from bionemo.esm2.finetuning.head_config import HeadConfig
from bionemo.esm2.finetuning.kmer_clusters import cluster_sequences
from bionemo.esm2.finetuning.labeled_proteins import (
    LabeledProteins,
    LabeledTable,
    build_targets,
    matrix_of,
    read_labeled,
    standardized_targets,
)
from bionemo.esm2.finetuning.splits import (
    Split,
    clusters_from_file,
    folds_by_column,
    grouped_folds,
    held_out_group_split,
    random_folds,
    split_by_column,
)


@dataclass
class Examples:
    """Labeled proteins of a run, of the training file and behind them of the validation file.

    Attributes:
        proteins: P proteins.
        labels: [P or R, L] float32.
        head: What is predicted; values of regressions are not standardized yet.
        num_train_rows: Proteins of the training file.
    """

    proteins: LabeledProteins
    labels: NDArray[np.float32]
    head: HeadConfig
    num_train_rows: int

    def head_for(self, split: Split) -> HeadConfig:
        """Return the head with regressions standardized by the training proteins of a split."""
        rows = self.proteins.label_rows(split.train, self.head.level)
        return replace(self.head, targets=standardized_targets(self.head.targets, self.labels, rows))


def read_examples(config: FinetuneESM2Config) -> Examples:
    """Read the labeled proteins, and those of the validation file where there is one, with the same classes.

    Raises:
        DataError: A row is bad, or the labels do not fit the head.
        FormatError: A file lacks a column.
    """
    table = labeled_table(config, config.train_data_path)
    proteins = read_labeled(table)
    level, kind = config.labeled_level, config.head_kind
    outputs = config.cnn_num_classes if level == "residue" else config.mlp_target_size
    several = len(config.label_column) > 1 or "classification" not in config.kinds
    targets = build_targets(proteins, table, max_classes=None if several else outputs)
    head = HeadConfig(
        level=level,
        targets=targets,
        kind=kind,
        hidden_size=config.cnn_hidden_size if level == "residue" else config.mlp_hidden_size,
        dropout=config.cnn_dropout if level == "residue" else config.mlp_ft_dropout,
    )
    if several and outputs is not None and outputs != head.num_outputs:
        flag = "--cnn-num-classes" if level == "residue" else "--mlp-target-size"
        raise DataError(f"{flag} {outputs}: the labels ask for {head.num_outputs} outputs. Leave it out.")
    num_train_rows = len(proteins)
    if config.valid_data_path is not None:
        held_out = replace(labeled_table(config, config.valid_data_path), split_column=None)
        proteins = joined(proteins, read_labeled(held_out, known=targets))
    return Examples(proteins, matrix_of(proteins, head), head, num_train_rows)


def labeled_table(config: FinetuneESM2Config, path: Path) -> LabeledTable:
    """Return how a file of labeled proteins is read."""
    return LabeledTable(
        source=ProteinFile(
            path=path,
            sequence_column=config.sequence_column,
            id_column=config.id_column,
            on_illegal=config.illegal,
        ),
        level=config.labeled_level,
        columns=config.label_column,
        kinds=config.kinds,
        mask_column=config.labels_mask_column,
        split_column=config.split_column,
        max_residues=None if config.max_seq_length is None else config.max_seq_length - 2,
        skip_bad_rows=config.on_bad_row == "skip",
    )


def joined(one: LabeledProteins, other: LabeledProteins) -> LabeledProteins:
    """Put the proteins of two files one behind the other."""
    return LabeledProteins(
        path=one.path,
        ids=one.ids + other.ids,
        rows=np.concatenate([one.rows, other.rows]),
        tokens=np.concatenate([one.tokens, other.tokens]),
        offsets=np.concatenate([one.offsets, other.offsets[1:] + one.offsets[-1]]),
        labels=[first + second for first, second in zip(one.labels, other.labels, strict=True)],
        rejected=one.rejected + other.rejected,
    )


def splits_of(config: FinetuneESM2Config, examples: Examples) -> Iterator[tuple[int | None, Split]]:
    """Iterate over (number of the fold, split) of every model that is trained; None where there is one."""
    proteins, none = examples.proteins, np.zeros(0, np.int64)
    if config.valid_data_path is not None:
        everything = np.arange(len(proteins))
        yield None, Split(everything[: examples.num_train_rows], everything[examples.num_train_rows :], none)
        return
    source = f"{proteins.path}: column {config.split_column}"
    if config.folds is not None:
        if config.split == "column":
            folds = folds_by_column(proteins.split, config.folds, source)
        elif config.split == "cluster":
            folds = grouped_folds(clusters_of(config, proteins), config.folds, config.seed)
        else:
            folds = random_folds(len(proteins), config.folds, config.seed, stratifying_classes(examples))
        for fold in range(config.folds):
            yield fold, Split(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold), none)
    elif config.split == "column":
        yield None, split_by_column(proteins.split, source)
    else:
        groups = clusters_of(config, proteins) if config.split == "cluster" else np.arange(len(proteins))
        fractions = (config.valid_fraction, config.test_fraction)
        valid, test, train = held_out_group_split(groups, fractions, config.seed)
        yield None, Split(train, valid, test)


def clusters_of(config: FinetuneESM2Config, proteins: LabeledProteins) -> NDArray[np.int64]:
    """Return the cluster of each protein, from the file that was given or by shared k-mers; [P] int64."""
    if config.cluster_file is not None:
        return clusters_from_file(config.cluster_file, proteins.ids)
    sequences = [proteins.residues(number) for number in range(len(proteins))]
    return cluster_sequences(sequences, identity=config.cluster_identity)


def stratifying_classes(examples: Examples) -> NDArray[np.int64] | None:
    """Return the class of each protein where one class for each is predicted, to deal classes evenly; else None."""
    head = examples.head
    if head.level != "sequence" or len(head.targets) > 1 or head.targets[0].kind != "classification":
        return None
    labels = examples.labels[:, 0]
    return np.where(np.isnan(labels), len(head.targets[0].classes), labels).astype(np.int64)
