# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Shared by the ESM-2 tests: one thread, so that results do not depend on the machine's cores, and the oracle."""

import pytest
import torch

from bionemo.testing.esm2_oracle import ESM2Oracle


@pytest.fixture(autouse=True, scope="module")  # not once: libraries that tests use set the number too
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> ESM2Oracle:
    """A freshly built model."""
    return ESM2Oracle.build(tmp_path_factory.mktemp("esm2"))


@pytest.fixture(scope="session")
def oracle(built: ESM2Oracle, tmp_path_factory: pytest.TempPathFactory) -> ESM2Oracle:
    """The same model after transformers loaded it, saved again."""
    return built.reloaded(tmp_path_factory.mktemp("esm2"))


@pytest.fixture(params=["built", "oracle"])
def either_oracle(request: pytest.FixtureRequest) -> ESM2Oracle:
    """Both of them."""
    found: ESM2Oracle = request.getfixturevalue(request.param)
    return found
