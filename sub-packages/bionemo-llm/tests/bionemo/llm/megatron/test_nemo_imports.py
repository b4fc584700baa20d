# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""NeMo comes in without a word, or it is said how to install it."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from bionemo.core.errors import MissingDependencyError
from bionemo.llm.megatron.nemo_imports import require_nemo


pytestmark = pytest.mark.nemo_env


def has_nemo() -> bool:
    try:
        version("nemo-toolkit")
    except PackageNotFoundError:
        return False
    return True


@pytest.mark.skipif(has_nemo(), reason="NeMo is installed here")
def test_a_missing_extra_is_named() -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install 'bionemo-llm\[nemo\]'"):
        require_nemo()


@pytest.mark.skipif(not has_nemo(), reason="NeMo is in .venv-nemo")
def test_nothing_is_said_on_the_way_in() -> None:
    code = "from bionemo.llm.megatron.nemo_imports import require_nemo; require_nemo(); import nemo.lightning"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
