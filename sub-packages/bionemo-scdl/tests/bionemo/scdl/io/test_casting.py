# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from bionemo.scdl.io.casting import CastReport, cast_values


def test_values_that_fit_change_nothing():
    for source, target in (("float64", "uint8"), ("int64", "float16"), ("uint64", "float32"), ("float32", "float64")):
        stored, report = cast_values(np.array([0, 1, 255], source), target, 0.0)
        assert stored.dtype == target
        assert stored.tolist() == [0, 1, 255]
        assert report == CastReport()


def test_every_kind_of_loss_is_counted():
    values = np.array([991, -1, np.nan, np.inf, 7, 2.5], np.float32)
    _, report = cast_values(values, "uint8", 1e-8)
    assert (report.num_changed, report.num_nan, report.num_infinite, report.num_negative) == (5, 1, 2, 1)
    assert "5 values change, 1 NaN, 2 infinite or out of range, 1 negative" in report.message("Here")
    _, report = cast_values(np.array([1e300, 1.0]), "float32", 1e-8)
    assert (report.num_changed, report.num_infinite) == (1, 1)


def test_nan_kept_as_nan_is_no_loss():
    stored, report = cast_values(np.array([np.nan, np.inf, 1.0]), "float32", 0.0)
    assert np.isnan(stored[0])
    assert report == CastReport()


@pytest.mark.parametrize(
    ("values", "target", "diff"),
    [
        (np.array([2**24 + 1], np.int64), "float32", 1),
        (np.array([2**53 + 1], np.int64), "float64", 1),
        (np.array([2**63 - 1], np.int64), "float64", 1),
        (np.array([2**64 - 1], np.uint64), "float64", 1),
        (np.array([0.1], np.float64), "float32", abs(0.1 - float(np.float32(0.1)))),
    ],
)
def test_precision_is_compared_exactly(values, target, diff):
    _, report = cast_values(values, target, 0.0)
    assert report.num_changed == 1
    assert report.max_abs_diff == pytest.approx(diff, rel=1e-6)


def test_differences_within_the_tolerance_do_not_count():
    assert cast_values(np.array([0.1]), "float32", 1e-6)[1].num_changed == 0
    assert cast_values(np.array([-1e-9]), "uint8", 1e-8)[1].num_negative == 0


@pytest.mark.parametrize("value", [2**64 - 1, 2**63, 0])
def test_the_ends_of_the_64_bit_range(value):
    stored, report = cast_values(np.array([value], np.uint64), "uint64", 0.0)
    assert (stored.tolist(), report.num_changed) == ([value], 0)
    _, report = cast_values(np.array([float(2**64)]), "uint64", 0.0)
    assert report.num_infinite == 1


def test_signed_integers_to_unsigned():
    _, report = cast_values(np.array([-1, 3], np.int32), "uint32", 0.0)
    assert (report.num_changed, report.num_negative) == (1, 1)
    _, report = cast_values(np.array([-1, 300], np.int64), "uint8", 0.0)
    assert (report.num_changed, report.num_negative, report.num_infinite) == (2, 1, 1)
