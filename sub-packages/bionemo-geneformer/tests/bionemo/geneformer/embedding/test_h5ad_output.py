# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Metadata of any type become columns that anndata writes."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa

from bionemo.geneformer.embedding.h5ad_output import writable_obs


def test_every_type_of_metadata_is_written(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "text": ["a", "b", None],
            "string": pd.array(["a", None, "b"], dtype="string"),
            "mixed": ["1", 1, None],
            "date": pd.to_datetime(["2020-01-01", None, "2021-02-03"]),
            "category": pd.Categorical([1, 2, None]),
            "int": [1, 2, 3],
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "bool": [True, False, True],
            "missing_bool": pd.array([True, None, False], dtype="boolean"),
            "arrow_int": pd.array([1, 2, 3], dtype=pd.ArrowDtype(pa.int32())),
            "arrow_float": pd.array([1.5, None, 3.0], dtype=pd.ArrowDtype(pa.float64())),
            "arrow_text": pd.array(["x", None, "y"], dtype=pd.ArrowDtype(pa.string())),
            "nothing": [None, None, None],
            7: [1.5, np.nan, 2.5],
        }
    )
    obs = writable_obs(frame.assign(cell_id=list("abc")), without="cell_id")
    anndata.AnnData(obs=obs.set_index(pd.Index(["c1", "c2", "c3"]))).write_h5ad(tmp_path / "obs.h5ad")
    found = anndata.read_h5ad(tmp_path / "obs.h5ad").obs
    texts = {name: found[name].astype(object).where(found[name].notna(), None).tolist() for name in found}
    assert texts == {
        "text": ["a", "b", None],
        "string": ["a", None, "b"],
        "mixed": ["1", "1", None],
        "date": ["2020-01-01 00:00:00", None, "2021-02-03 00:00:00"],
        "category": ["1", "2", None],
        "int": [1, 2, 3],
        "nullable": [1.0, None, 3.0],
        "bool": [True, False, True],
        "missing_bool": ["True", None, "False"],
        "arrow_int": [1, 2, 3],
        "arrow_float": [1.5, None, 3.0],
        "arrow_text": ["x", None, "y"],
        "nothing": [None, None, None],
        "7": [1.5, None, 2.5],
    }
    assert found["arrow_int"].dtype == np.int32
