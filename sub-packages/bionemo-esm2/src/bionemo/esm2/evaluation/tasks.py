# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What is measured on each kind of data set: the model and its baselines, on the same held-out proteins.

Letters: P proteins, R residues, C classes.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.core.randomness import Stream, rng_for
from bionemo.esm2.data.tokenizer import VOCABULARY
from bionemo.esm2.embedding.embedder import EmbeddingOptions, ProteinEmbedder
from bionemo.esm2.esm2 import ESM2
from bionemo.esm2.evaluation.blosum import blosum_score
from bionemo.esm2.evaluation.contacts import evaluate_contacts
from bionemo.esm2.evaluation.datasets import Dataset
from bionemo.esm2.evaluation.figures import TaskResult, accuracy_score, rank_score
from bionemo.esm2.evaluation.linear_probe import LinearProbe, window_features
from bionemo.esm2.evaluation.ridge import (
    composition,
    one_hot_kernel,
    ridge_predictions,
    scaled_to_one,
    standardized_kernel,
)
from bionemo.esm2.finetuning.kmer_clusters import cluster_sequences
from bionemo.esm2.finetuning.splits import SPLIT_NAMES, held_out_group_split
from bionemo.esm2.variants.mutations import infer_offset, parse_variant


THREE_STATES = {**dict.fromkeys("HGI", "H"), **dict.fromkeys("EB", "E"), **dict.fromkeys("TSP~-C. ", "C")}
CLUSTER_IDENTITY, HELD_OUT = 0.5, 0.2
PROTEINS_PER_PART = 128


def evaluate(dataset: Dataset, model: ESM2, *, num_folds: int, seed: int) -> list[TaskResult]:
    """Measure a model and its baselines on a data set.

    Args:
        dataset: The data.
        model: The ESM-2.
        num_folds: Random folds of variants.
        seed: Of splits and resampling.

    Raises:
        DataError: The labels do not fit the sequences.
    """
    if dataset.kind == "variants":
        return [evaluate_variants(dataset, model, num_folds=num_folds, seed=seed)]
    if dataset.kind == "contacts":
        return evaluate_contacts(dataset, model, seed=seed)
    if dataset.kind == "values":
        return [evaluate_values(dataset, model, seed=seed)]
    states = set("".join(dataset.labels))
    results = []
    if states <= set(THREE_STATES) and len(states) > 3:
        results.append(evaluate_residues(dataset, model, dataset.labels, "states", seed=seed))
        mapped = ["".join(THREE_STATES[state] for state in label) for label in dataset.labels]
        return [*results, evaluate_residues(dataset, model, mapped, "states", seed=seed)]
    return [evaluate_residues(dataset, model, dataset.labels, "classes", seed=seed)]


def split_of(dataset: Dataset, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Return training and held-out proteins and how they were told apart: by a column, else by clusters."""
    if dataset.splits is not None:
        names = np.array([SPLIT_NAMES.get(cell.strip().lower(), "") for cell in dataset.splits])
        train = np.flatnonzero((names == "train") | (names == "valid"))
        held_out = np.flatnonzero(names == "test")
        if len(train) and len(held_out):
            return train, held_out, "split of the file"
    clusters = cluster_sequences(dataset.sequences, identity=CLUSTER_IDENTITY)
    held_out, train = held_out_group_split(clusters, (HELD_OUT,), seed)
    return train, held_out, "whole clusters held out"


def evaluate_residues(dataset: Dataset, model: ESM2, labels: Sequence[str], what: str, *, seed: int) -> TaskResult:
    """Classify residues: a linear probe on embeddings, one on a window of letters, the majority by amino acid.

    Raises:
        DataError: A protein has another number of labels than residues.
    """
    for place, (sequence, label) in enumerate(zip(dataset.sequences, labels, strict=True)):
        if len(sequence) != len(label):
            raise DataError(f"{dataset.path}: row {place + 1}: {len(label)} labels for {len(sequence)} residues.")
    train, held_out, how = split_of(dataset, seed)
    names = sorted(set("".join(labels)))
    number = {name: idx for idx, name in enumerate(names)}
    classes = [np.array([number[letter] for letter in label], np.int64) for label in labels]

    embedder = ProteinEmbedder(model.module, EmbeddingOptions(include_hiddens=True, precision=model.precision))

    def embedded(proteins: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        for part in parts_of(proteins):
            outputs = embedder.embed([dataset.sequences[p] for p in part])
            yield outputs.residues["hidden_states"], np.concatenate([classes[p] for p in part])

    def windows(proteins: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        for part in parts_of(proteins):
            yield (
                np.concatenate([window_features(dataset.sequences[p]) for p in part]),
                np.concatenate([classes[p] for p in part]),
            )

    counts = np.zeros((len(VOCABULARY), len(names)), np.int64)
    for protein in train.tolist():
        np.add.at(counts, (np.frombuffer(dataset.sequences[protein], np.uint8), classes[protein]), 1)
    majority = counts.argmax(axis=1)
    rights = {
        "majority by amino acid": [
            majority[np.frombuffer(dataset.sequences[p], np.uint8)] == classes[p] for p in held_out.tolist()
        ]
    }
    lengths = [len(dataset.sequences[p]) for p in held_out.tolist()]
    for name, features in (("linear probe of 15 letters", windows), ("linear probe of embeddings", embedded)):
        probe = LinearProbe(len(names))
        probe.fit(features(train))
        right = np.concatenate([probe.predict(values) == truth for values, truth in features(held_out)])
        rights[name] = np.split(right, np.cumsum(lengths)[:-1])
    scores = [
        accuracy_score(name, per_protein, is_model=name.endswith("embeddings"), seed=seed)
        for name, per_protein in rights.items()
    ]
    return TaskResult(dataset.name, f"{len(names)} {what} of residues, {how}", len(train), len(held_out), scores)


def evaluate_values(dataset: Dataset, model: ESM2, *, seed: int) -> TaskResult:
    """Predict values of whole proteins by ridge regression: on embeddings, one-hot residues, and composition."""
    values = numbers(dataset)
    train, held_out, how = split_of(dataset, seed)
    kernels = {
        "ridge on composition": (standardized_kernel(composition(dataset.sequences)), False),
        "ridge on one-hot residues": (one_hot_kernel(dataset.sequences), False),
        "ridge on embeddings": (standardized_kernel(mean_embeddings(dataset, model)), True),
    }
    scores = []
    for name, (kernel, is_model) in kernels.items():
        predicted = ridge_predictions(kernel, values, train, held_out, seed=seed)
        scores.append(rank_score(name, predicted, values[held_out], is_model=is_model, seed=seed))
    return TaskResult(dataset.name, f"values of proteins, {how}", len(train), len(held_out), scores)


def evaluate_variants(dataset: Dataset, model: ESM2, *, num_folds: int, seed: int) -> TaskResult:
    """Score variants: without labels by the model and by BLOSUM62, and by ridge regression in random folds."""
    assert dataset.mutants is not None
    values = numbers(dataset)
    variants = [parse_variant(text) for text in dataset.mutants]
    wild_type = consensus(dataset.sequences)
    offset = infer_offset(variants, wild_type)
    zero_shot = model.score_variants(wild_type, dataset.mutants, offset=offset)["score"].to_numpy(np.float64)
    blosum = np.array([blosum_score(variant) for variant in variants])
    one_hot = scaled_to_one(one_hot_kernel(dataset.sequences))
    both = one_hot + scaled_to_one(standardized_kernel(mean_embeddings(dataset, model)))
    folds = rng_for(seed, Stream.SPLIT).permutation(len(values)) % num_folds
    scores = [
        rank_score("BLOSUM62, no labels", blosum, values, is_model=False, seed=seed),
        rank_score("masked marginals, no labels", zero_shot, values, is_model=True, seed=seed),
        rank_score("ridge on one-hot residues", pooled(one_hot, values, folds), values, is_model=False, seed=seed),
        rank_score(
            "ridge on one-hot residues + embeddings", pooled(both, values, folds), values, is_model=True, seed=seed
        ),
    ]
    task = f"variants, ridge in {num_folds} random folds"
    return TaskResult(dataset.name, task, len(values) - len(values) // num_folds, len(values), scores)


def consensus(sequences: Sequence[bytes]) -> str:
    """Return the most frequent letter at each position of the sequences of the most frequent length.

    >>> consensus([bytes([5, 6]), bytes([5, 7]), bytes([8, 6]), bytes([5])])
    'AG'
    """
    length = Counter(map(len, sequences)).most_common(1)[0][0]
    table = np.array([list(sequence) for sequence in sequences if len(sequence) == length], np.uint8)
    return "".join(VOCABULARY[np.bincount(column).argmax()] for column in table.T)


def mean_embeddings(dataset: Dataset, model: ESM2) -> NDArray[np.float32]:
    """Return the mean embedding of each protein, [P, H]."""
    embedder = ProteinEmbedder(model.module, EmbeddingOptions(kinds=("mean",), precision=model.precision))
    return embedder.embed(dataset.sequences).embeddings["mean"]


def pooled(kernel: NDArray[np.float32], values: NDArray[np.float64], folds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the held-out predictions of all folds."""
    predicted = np.empty(len(values))
    for fold in np.unique(folds).tolist():
        held_out = np.flatnonzero(folds == fold)
        predicted[held_out] = ridge_predictions(kernel, values, np.flatnonzero(folds != fold), held_out)
    return predicted


def numbers(dataset: Dataset) -> NDArray[np.float64]:
    """Return the labels of a data set as numbers.

    Raises:
        DataError: One is none.
    """
    found = np.empty(len(dataset.labels))
    for place, label in enumerate(dataset.labels):
        try:
            found[place] = float(label)
        except ValueError:
            raise DataError(f"{dataset.path}: row {place + 1}: the value {label!r} is no number.") from None
    return found


def parts_of(proteins: NDArray[np.int64]) -> Iterator[list[int]]:
    """Cut proteins into parts that are in memory at once."""
    for first in range(0, len(proteins), PROTEINS_PER_PART):
        yield proteins[first : first + PROTEINS_PER_PART].tolist()
