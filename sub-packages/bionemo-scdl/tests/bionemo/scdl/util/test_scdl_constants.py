# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from bionemo.scdl.util.scdl_constants import FLOAT_ORDER, INT_ORDER, ArrayDType, FileNames, Mode


def test_names_on_disk():
    assert FileNames.DATA.value == "data.npy"
    assert FileNames.NEIGHBOR_INDICES_PTR == "neighbor_indptr.npy"
    assert Mode("r+") is Mode.READ_APPEND
    assert INT_ORDER + FLOAT_ORDER == ["uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]


@pytest.mark.parametrize("name", INT_ORDER + FLOAT_ORDER)
def test_every_form_of_a_dtype_has_the_same_code(name):
    code = ArrayDType.from_numpy_dtype(name)
    assert code.numpy_dtype_string == name
    forms = [getattr(np, name), np.dtype(name), np.dtype(name).newbyteorder(">"), np.zeros(1, name)]
    assert {ArrayDType.from_numpy_dtype(form) for form in forms} == {code}


def test_text_and_unsupported_dtypes():
    assert ArrayDType.from_numpy_dtype(object) is ArrayDType.STRING_ARRAY
    assert ArrayDType.from_numpy_dtype(str) is ArrayDType.STRING_ARRAY
    assert ArrayDType.from_numpy_dtype("<U5") is ArrayDType.FIXED_STRING_ARRAY
    assert ArrayDType.FIXED_STRING_ARRAY.numpy_dtype_string == "fixed_string"
    with pytest.raises(ValueError, match="Signed integer dtypes are not supported: int32"):
        ArrayDType.from_numpy_dtype("int32")
    with pytest.raises(ValueError, match="Unsupported numpy dtype: complex64"):
        ArrayDType.from_numpy_dtype("complex64")
    with pytest.raises(ValueError, match="Unsupported numpy dtype: nonsense"):
        ArrayDType.from_numpy_dtype("nonsense")
