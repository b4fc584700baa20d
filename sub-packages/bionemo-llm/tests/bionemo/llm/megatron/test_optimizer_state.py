# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A run of a flattened tensor, as the distributed optimizer has it, in boxes; the rest is tested with whole runs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bionemo.llm.megatron.optimizer_state import boxes_of_run


pytestmark = pytest.mark.nemo_env


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.data())
def test_boxes_make_up_the_run_in_order(shape: list[int], data: st.DataObject) -> None:
    tensor = torch.arange(torch.Size(shape).numel()).reshape(shape)
    first = data.draw(st.integers(0, tensor.numel()))
    last = data.draw(st.integers(first, tensor.numel()))
    boxes = boxes_of_run(tuple(shape), first, last)
    parts = [
        tensor[tuple(slice(o, o + s) for o, s in zip(offset, size, strict=True))].flatten() for offset, size in boxes
    ]
    found = torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)
    assert found.tolist() == list(range(first, last))
    assert len(boxes) <= 2 * len(shape) + 1


def test_whole_rows_stay_together() -> None:
    assert boxes_of_run((4, 3), 0, 12) == [((0, 0), (4, 3))]
    assert boxes_of_run((4, 3), 2, 10) == [((0, 2), (1, 1)), ((1, 0), (2, 3)), ((3, 0), (1, 1))]
    assert boxes_of_run((4, 3), 4, 5) == [((1, 1), (1, 1))]
