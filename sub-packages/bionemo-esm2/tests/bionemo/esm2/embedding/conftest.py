# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Proteins, and a model whose states float32 and bfloat16 carry to the digits that the tests compare."""

import numpy as np
import pytest

from bionemo.testing.esm2_oracle import LETTERS, ESM2Oracle


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> ESM2Oracle:
    return ESM2Oracle.build(tmp_path_factory.mktemp("esm2"), initializer_range=0.1)


@pytest.fixture(scope="session")
def sequences() -> list[str]:
    """Of many lengths, in no order, one of them twice."""
    rng = np.random.default_rng(3)
    found = ["".join(rng.choice(list(LETTERS[:20]), length)) for length in (7, 1, 40, 12, 90, 12, 3, 25, 1, 61)]
    return [*found, found[3]]
