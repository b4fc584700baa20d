# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from bionemo.core.errors import ConfigError, DataError
from bionemo.scdl.sampling.weighted import WeightedSampler, obs_weights


@pytest.fixture
def dataset(make_archive):
    kinds = ["rare"] * 10 + ["common"] * 90
    obs = pd.DataFrame({"kind": pd.Categorical(kinds)}, index=[f"c{i}" for i in range(100)])
    return make_archive(sp.csr_matrix((100, 3), dtype=np.float32), obs=obs)


def test_balanced_weights_draw_all_kinds_equally(dataset):
    weights = obs_weights(dataset, "kind")
    assert weights[:10].sum() == pytest.approx(weights[10:].sum())
    rows = np.concatenate(list(WeightedSampler(weights, batch_size=100, num_samples=20_000)))
    # 20,000 draws with probability one half: four standard deviations are 283.
    assert abs((rows < 10).sum() - 10_000) < 283
    assert set(rows.tolist()) == set(range(100))


def test_given_weights(dataset):
    weights = obs_weights(dataset, "kind", {"rare": 1, "common": 0})
    rows = np.concatenate(list(WeightedSampler(weights, batch_size=8, num_samples=50)))
    assert rows.size == 56
    assert rows.max() < 10
    with pytest.raises(ValueError, match=r"No weight for the values \['common'\]"):
        obs_weights(dataset, "kind", {"rare": 1})
    with pytest.raises(ValueError, match="some rows have no obs column 'age'"):
        obs_weights(dataset, "age")


def test_the_plan_is_shared_and_resumed():
    weights = np.arange(10.0)
    whole = list(WeightedSampler(weights, batch_size=4, num_samples=40))
    ranks = [list(WeightedSampler(weights, batch_size=4, num_samples=40, rank=r, world_size=2)) for r in range(2)]
    assert [batch for step in zip(*ranks, strict=True) for batch in step] == whole
    resumed = WeightedSampler(weights, batch_size=4, num_samples=40)
    resumed.load_state_dict({"epoch": 0, "position": 6})
    assert list(resumed) == whole[6:]
    assert 0 not in {row for batch in whole for row in batch}
    assert list(WeightedSampler(weights, batch_size=4, num_samples=40, seed=1)) != whole


@pytest.mark.parametrize("weights", [[0.0, 0], [1, -1], [np.nan, 1], [np.inf, 1], [[1.0]], []])
def test_impossible_weights(weights):
    with pytest.raises(ValueError, match="weights must be one finite number of 0 or more"):
        WeightedSampler(np.array(weights), batch_size=1)


def test_cells_without_a_label_are_never_drawn(make_archive, caplog):
    """Two of four cells are unlabelled: no class of their own, with half of all draws."""
    labels = pd.Categorical(["T", None, "B", None])
    dataset = make_archive(obs=pd.DataFrame({"label": labels}, index=list("abcd")))
    weights = obs_weights(dataset, "label")
    assert weights.tolist() == [1, 0, 1, 0]
    assert "2 of 4 cells have no value in the obs column 'label' and are never drawn" in caplog.text
    assert obs_weights(dataset, "label", {"T": 3, "B": 0.5}).tolist() == [3, 0, 0.5, 0]
    with pytest.raises(DataError, match="2 of 4 cells have no value in the obs column 'label'"):
        obs_weights(dataset, "label", missing="error")
    with pytest.raises(ConfigError, match="missing is 'drop'"):
        obs_weights(dataset, "label", missing="drop")
    unlabelled = pd.Categorical([None] * 4, categories=["T"])
    nothing = make_archive(name="nothing", obs=pd.DataFrame({"label": unlabelled}, index=list("abcd")))
    with pytest.raises(DataError, match="4 of 4 cells have no value"):
        obs_weights(nothing, "label")
