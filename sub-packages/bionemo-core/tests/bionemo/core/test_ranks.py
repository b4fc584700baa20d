# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import pytest

from bionemo.core.ranks import process_rank, started_ranks


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
    set_environment(monkeypatch, environment)
    assert process_rank() == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"RANK": "0", "WORLD_SIZE": "8"}, 8),
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4"}, 4),
        ({"RANK": "0", "WORLD_SIZE": "8", "SLURM_STEP_NUM_TASKS": "1"}, 8),  # torchrun, started once per node by srun
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, None),  # Lightning's own launcher
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, None),  # a batch script without srun
    ],
)
def test_number_of_started_ranks(monkeypatch, environment, expected):
    set_environment(monkeypatch, environment)
    assert started_ranks() == expected


def set_environment(monkeypatch, environment):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
