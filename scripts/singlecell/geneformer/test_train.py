# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import subprocess
import sys
from pathlib import Path


def test_the_script_says_that_it_cannot_train_yet() -> None:
    script = Path(__file__).with_name("train.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "train.py: error: this version of bionemo-geneformer cannot train yet.\n"
