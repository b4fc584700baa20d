# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import gc

import pytest
import torch

from bionemo.core.data.size_aware_batching import collect_cuda_peak_alloc


def test_other_devices_are_refused():
    with pytest.raises(ValueError, match=r"^This function is intended for CUDA devices only\.$"):
        collect_cuda_peak_alloc([1], lambda data: data, torch.device("cpu"))


@pytest.mark.needs_gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs 1 GPU, found 0")
def test_peak_grows_with_the_work_and_what_does_not_fit_is_left_out():
    device, cleaned = torch.device("cuda", 0), []
    total = torch.cuda.get_device_properties(device).total_memory

    def work(num_bytes):
        torch.empty(num_bytes, dtype=torch.uint8, device=device)
        return num_bytes

    gc.collect()  # what earlier tests left would be freed in between
    before = torch.cuda.memory_allocated(device)
    sizes = [1 << 20, 2 * total, 1 << 24]
    features, peaks = collect_cuda_peak_alloc(sizes, work, device, cleanup=lambda: cleaned.append(True))
    assert features == [1 << 20, 1 << 24]
    assert [peak - before for peak in peaks] == [1 << 20, 1 << 24]
    assert len(cleaned) == 3
