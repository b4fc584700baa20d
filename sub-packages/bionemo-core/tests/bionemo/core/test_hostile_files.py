# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""No hostile file crashes the loaders of core, runs code, or takes more memory than the limit."""

from bionemo.testing.hostile_files import hostile_gzip, hostile_pickles, load_each


HARMLESS = {  # what the standard library would crash on is plain data here
    "memo of 2**32": "NoneType",
    "memo of 2**32, protocol 0": "NoneType",
    "objects in records": "ndarray",
}


def test_pickles(tmp_path):
    load = "from bionemo.core.restricted_pickle import read_pickle as load"
    outcomes = load_each(load, hostile_pickles(), tmp_path)
    refused = {
        name for name, outcome in outcomes.items() if outcome.error == "RestrictedPickleError" and outcome.is_ours
    }
    assert set(outcomes) - refused == set(HARMLESS)
    assert {name: outcomes[name].message for name in HARMLESS} == HARMLESS
    assert max(outcome.added_mb for outcome in outcomes.values()) < 300


def test_gzip(tmp_path):
    load = "from bionemo.core.unpacking import gunzip\nload = lambda path: gunzip(path.read_bytes(), name=path)"
    outcomes = load_each(load, hostile_gzip(), tmp_path)
    expected = dict.fromkeys(outcomes, "DecompressionLimitError") | dict.fromkeys(
        ("cut off", "checksum", "no gzip"), "FormatError"
    )
    # "packed twice" unpacks to a moderate file, which is packed itself.
    assert {name: outcome.error for name, outcome in outcomes.items()} == expected | {"packed twice": None}
    assert max(outcome.added_mb for outcome in outcomes.values()) < 200
