# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from bionemo.testing.utils import assert_matrix_correlation_above_value, assert_matrix_mape_below_value


EXPECTED = np.array([[1.0, 2.0, 4.0], [10.0, 0.0, -5.0]])


def test_mape_in_percent():
    assert_matrix_mape_below_value(EXPECTED * 1.0005, EXPECTED, max_mape=0.05001)
    with pytest.raises(AssertionError, match=r"MAPE below threshold: 0\.08\d* > 0\.05\. layer 3"):
        assert_matrix_mape_below_value(EXPECTED * 1.001, EXPECTED, max_mape=0.05, msg="layer 3")


def test_mape_next_to_zero_uses_eps():
    assert_matrix_mape_below_value([1e-6], [0.0], eps=1e-3, max_mape=0.11)
    with pytest.raises(AssertionError):
        assert_matrix_mape_below_value([1e-6], [0.0], eps=1e-6, max_mape=0.11)


def test_a_mask_chooses_entries_or_rows():
    actual = EXPECTED.copy()
    actual[1] += 7
    with pytest.raises(AssertionError):
        assert_matrix_mape_below_value(actual, EXPECTED)
    assert_matrix_mape_below_value(actual, EXPECTED, mask=np.array([True, False]))
    assert_matrix_mape_below_value(actual, EXPECTED, mask=np.array([[1, 1, 1], [0, 0, 0]]))


def test_correlation():
    torch = pytest.importorskip("torch")
    actual = torch.tensor(EXPECTED * -3 + 1, requires_grad=True)
    assert_matrix_correlation_above_value(-actual, EXPECTED, min_correlation=0.999)
    with pytest.raises(AssertionError, match=r"Correlation below threshold: -1\.0\d* < 0\.95\. sign"):
        assert_matrix_correlation_above_value(actual, EXPECTED, msg="sign")
    noisy = EXPECTED + np.array([[0, 0, 0], [-30, 30, -30]])
    with pytest.raises(AssertionError):
        assert_matrix_correlation_above_value(noisy, EXPECTED)
    assert_matrix_correlation_above_value(noisy, EXPECTED, mask=[True, False])
