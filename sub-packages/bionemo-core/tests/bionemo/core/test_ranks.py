# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import pytest

from bionemo.core.ranks import process_rank


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "2"}, 2),
        ({"SLURM_PROCID": "5", "LOCAL_RANK": "1"}, 5),
        ({"RANK": "7", "SLURM_PROCID": "5", "LOCAL_RANK": "1"}, 7),
        ({"RANK": "", "LOCAL_RANK": "3"}, 3),
    ],
)
def test_environment(monkeypatch, environment, expected):
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert process_rank() == expected
