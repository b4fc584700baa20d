# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Layers this small spend their time waiting for each other's threads, the more so on a busy machine."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
