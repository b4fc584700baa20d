# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Shared settings of the ESM-2 tests: one thread, so that results do not depend on the machine's cores."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")  # not once: libraries that tests use set the number too
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
