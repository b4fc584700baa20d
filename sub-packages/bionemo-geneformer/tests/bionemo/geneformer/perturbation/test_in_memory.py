# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``Geneformer.perturb``: the command's shifts without its files."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pyarrow.parquet as pq
import pytest

from bionemo.core.config import from_mapping
from bionemo.core.errors import ConfigError, DataError
from bionemo.geneformer.geneformer import Geneformer
from bionemo.geneformer.perturbation.config import PerturbGeneformerConfig
from bionemo.geneformer.perturbation.run import run_perturbation


Files = Callable[[str], Any]
STATES = {"state_key": "state", "start_state": "sick", "goal_state": "well"}


@pytest.mark.parametrize("changes", [{**STATES, "tokens_per_batch": 64}, {"genes": ["SYM3"], "max_cells": 3}])
def test_equal_to_the_command(perturbation_files: Files, tmp_path: Path, changes: dict[str, Any]) -> None:
    files = perturbation_files("V2")
    given = {
        "checkpoint_path": str(files.checkpoint),
        "data_path": str(files.h5ad),
        "results_path": str(tmp_path / "out"),
        "accelerator": "cpu",
        "statistics": "none",
        **changes,
    }
    run_perturbation(from_mapping(PerturbGeneformerConfig, given))
    model = Geneformer.from_pretrained(files.checkpoint, device="cpu")
    adata = anndata.read_h5ad(files.h5ad)
    frame = model.perturb(adata, **changes)
    expected = pq.read_table(tmp_path / "out/shifts.parquet").to_pandas()
    assert frame.columns.tolist() == expected.columns.tolist()
    assert len(frame) == len(expected) > 0
    for name in frame.columns:
        np.testing.assert_array_equal(frame[name], expected[name], err_msg=name)
    assert set(frame["cell_id"]) <= set(adata.obs_names)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_one_gene_by_its_name_and_a_bar(perturbation_files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files = perturbation_files("V2")
    model = Geneformer.from_pretrained(files.checkpoint, device="cpu")
    adata = anndata.read_h5ad(files.h5ad)
    expected = model.perturb(adata, ["SYM3"], max_cells=3)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert model.perturb(adata, "SYM3", max_cells=3).equals(expected)
    assert "Perturbing" in terminal.getvalue()
    assert "3.00/3.00" in terminal.getvalue()


def test_bad_input_is_named(perturbation_files: Files) -> None:
    files = perturbation_files("V2")
    model = Geneformer.from_pretrained(files.checkpoint, device="cpu")
    adata = anndata.read_h5ad(files.h5ad)
    for settings, error, message in (
        ({"gene": ["SYM3"]}, ConfigError, "perturb: unknown key 'gene'. Did you mean genes?"),
        ({"genes": []}, ConfigError, "--genes: none given"),
        ({"genes": ["SYM99"]}, DataError, "gene SYM99: is not in the model's vocabulary"),
        ({"perturb_type": "inhibit"}, ConfigError, "--rank-shift None: inhibit needs 1, 2 or 3 quartiles"),
        ({"gene_cosines": True}, ConfigError, "gene_cosines: may have millions of rows"),
        ({**STATES, "state_key": "stat"}, DataError, "adata: no obs column 'stat', found"),
    ):
        with pytest.raises(error) as caught:
            model.perturb(adata, **settings)
        assert str(caught.value).startswith(message)
    adata.X = np.log1p(adata.X.toarray() / 7)
    with pytest.raises(DataError, match="counts"):
        model.perturb(adata)
    bare = Geneformer(model.module, model.dictionaries._replace(medians={}))
    with pytest.raises(ConfigError, match="gene_medians: the checkpoint holds none"):
        bare.perturb(adata)
    model.module.dictionaries = None
    with pytest.raises(ConfigError, match="loaded without a vocabulary"):
        Geneformer(model.module)
