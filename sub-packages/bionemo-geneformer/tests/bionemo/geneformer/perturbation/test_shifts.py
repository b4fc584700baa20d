# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import math

import numpy as np
import pytest
import torch

from bionemo.core.errors import ConfigError
from bionemo.geneformer.embedding.pooling import segment_means
from bionemo.geneformer.perturbation.shifts import (
    ComparedGenes,
    HiddenCell,
    Measure,
    shifts_of_edits,
    state_embedding,
)


# A cell of three genes in two dimensions; the edit compares the first and the last.
CELL = HiddenCell(genes=torch.tensor([[1.0, 0.0], [9.0, 9.0], [0.0, 1.0]]), first=torch.tensor([2.0, 0.0]))
COMPARED = ComparedGenes(
    states=torch.tensor([[1.0, 1.0], [0.0, 3.0]]),
    sources=torch.tensor([0, 2]),
    counts=[2],
    first=torch.tensor([[0.0, 5.0]]),
)


def test_pooled_cosine_by_hand() -> None:
    # Means (1/2, 1/2) and (1/2, 2): cosine (1/4 + 1) / (sqrt(1/2) sqrt(17/4)).
    (value,) = shifts_of_edits(CELL, COMPARED, Measure(embedding="cell"))[0].tolist()
    assert value == pytest.approx(1.25 / math.sqrt(0.5 * 4.25), abs=1e-12)
    assert shifts_of_edits(CELL, COMPARED, Measure(embedding="cls")).tolist() == [[0.0]]


def test_mean_of_gene_cosines_by_hand() -> None:
    (value,) = shifts_of_edits(CELL, COMPARED, Measure(embedding="cell", cosine="genes"))[0].tolist()
    assert value == pytest.approx((math.sqrt(0.5) + 1) / 2, abs=1e-7)


def test_shifts_to_states_by_hand() -> None:
    states = {"shift_to_start": torch.tensor([3.0, 0.0]), "shift_to_goal": torch.tensor([0.0, 7.0])}
    measure = Measure(embedding="cell", states=states)
    assert measure.columns == ("shift_to_start", "shift_to_goal")
    before, after = math.sqrt(0.5), np.array([0.5, 2]) / math.sqrt(4.25)
    found = shifts_of_edits(CELL, COMPARED, measure)[0].tolist()
    assert found == pytest.approx([after[0] - before, after[1] - before], abs=1e-12)
    found = shifts_of_edits(CELL, COMPARED, Measure(embedding="cls", states=states))[0].tolist()
    assert found == [-1.0, 1.0]


def test_several_edits_of_one_cell_stay_apart() -> None:
    compared = ComparedGenes(
        states=torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 1.0]]),
        sources=torch.tensor([0, 2, 0]),
        counts=[2, 1],
        first=torch.zeros(2, 2),
    )
    found = shifts_of_edits(CELL, compared, Measure(embedding="cell", cosine="genes"))
    assert found.tolist() == [[1.0], [0.0]]


def test_means_are_exact_over_thousands_of_rows() -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(1.0, 0.1, size=(5000, 3)).astype(np.float32))
    expected = np.stack([part.mean(axis=0) for part in np.split(values.numpy().astype(np.float64), [4000])])
    found = segment_means(values, torch.tensor([4000, 1000]))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14)


def test_states_are_means_or_medians() -> None:
    embeddings = torch.tensor([[0.0, 1.0], [2.0, 5.0], [7.0, 3.0], [3.0, 4.0]])
    assert state_embedding(embeddings, "mean").tolist() == [3.0, 3.25]
    assert state_embedding(embeddings, "median").tolist() == [2.5, 3.5]
    assert state_embedding(embeddings[:3], "median").tolist() == [2.0, 3.0]


def test_gene_cosines_need_the_genes() -> None:
    with pytest.raises(ConfigError, match="cosine genes: is a mean over genes"):
        Measure(embedding="cls", cosine="genes")
