# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import os
import re
import subprocess
import sys

import pytest

from bionemo.core.openmp import POLICY_VARIABLES


COMMAND = """
import sys
from dataclasses import dataclass
from bionemo.core.command import command

@dataclass(frozen=True, kw_only=True)
class NoConfig:
    "Import torch."

def job(config):
    import torch

sys.exit(command(NoConfig, job, prog="p")([]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings libgomp on Linux")
@pytest.mark.parametrize(
    ("chosen", "spins"),
    [({}, 1000), ({"GOMP_SPINCOUNT": "7"}, 7), ({"OMP_WAIT_POLICY": "PASSIVE"}, 0)],
)
def test_torch_reads_the_short_spin_of_a_command_unless_the_user_chose(chosen, spins) -> None:
    """libgomp prints what it read when it is loaded."""
    kept = {name: value for name, value in os.environ.items() if name not in POLICY_VARIABLES}
    environment = kept | chosen | {"OMP_DISPLAY_ENV": "VERBOSE"}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    assert found is not None, done.stderr
    assert int(found[1]) == spins
