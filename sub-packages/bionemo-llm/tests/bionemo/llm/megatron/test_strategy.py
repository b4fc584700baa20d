# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a step takes from the data where stages are in several pieces."""

import itertools

import pytest
import torch

from bionemo.llm.megatron.strategy import filled_up


pytestmark = pytest.mark.nemo_env


def test_a_validation_step_is_filled_up_with_packs_without_labels() -> None:
    """Five packs for steps of two: the last step repeats its pack, which counts once."""
    packs = iter([({"input_ids": torch.tensor([n]), "labels": torch.tensor([n])}, n, n // 3) for n in range(5)])
    taken = list(itertools.chain.from_iterable(filled_up(packs, 2) for _ in range(3)))
    assert [int(pack["input_ids"]) for pack, _, _ in taken] == [0, 1, 2, 3, 4, 4]
    assert [int(pack["labels"]) for pack, _, _ in taken] == [0, 1, 2, 3, 4, -100]
    assert [loader for _, _, loader in taken] == [0, 0, 0, 1, 1, 1]
