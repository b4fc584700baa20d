# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp


def test_round_trip(make_archive, counts):
    obs = pd.DataFrame({"kind": pd.Categorical(list("pqpq")), "n": [1, 2, 3, 4]}, index=list("abcd"))
    var = pd.DataFrame({"name": list("vwxyz")}, index=list("VWXYZ"))
    dataset = make_archive(obs=obs, var=var)
    adata = dataset.to_anndata()
    np.testing.assert_array_equal(adata.X.toarray(), counts)
    assert sp.isspmatrix_csr(adata.X)
    pd.testing.assert_frame_equal(adata.obs, obs, check_index_type=False)
    pd.testing.assert_frame_equal(adata.var, var, check_index_type=False)
    some = dataset.to_anndata([3, 0])
    assert some.obs_names.tolist() == ["d", "a"]
    np.testing.assert_array_equal(some.X.toarray(), counts[[3, 0]])
    assert dataset.to_anndata(slice(1, 3)).obs_names.tolist() == ["b", "c"]


@pytest.mark.filterwarnings("ignore:The rows have 2 different gene tables")
def test_ragged_archives_have_no_anndata_form(make_archive):
    dataset = make_archive(name="a")
    dataset.concat(make_archive(sp.csr_matrix((2, 3), dtype=np.float32), name="b"))
    with pytest.raises(ValueError, match="2 different gene tables, but an AnnData has one"):
        dataset.to_anndata()
