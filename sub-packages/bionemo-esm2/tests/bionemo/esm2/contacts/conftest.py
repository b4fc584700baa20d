# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A protein of random residues."""

import numpy as np
import pytest

from bionemo.testing.esm2_oracle import LETTERS


@pytest.fixture(scope="session")
def protein() -> str:
    rng = np.random.default_rng(3)
    return "".join(rng.choice(list(LETTERS[:20]), 30))
