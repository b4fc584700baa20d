# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import torch

from bionemo.testing.lightning import extract_global_steps_from_log, get_random_microbatch


def test_microbatch_shapes_and_seed():
    batch = get_random_microbatch(3, 40, 11, seed=5, mask_index=-7)
    labels, loss_mask = batch["batch"]["labels"], batch["batch"]["loss_mask"]
    logits = batch["forward_out"]["token_logits"]
    assert (labels.shape, loss_mask.shape, logits.shape) == ((3, 40), (3, 40), (40, 3, 11))
    assert (labels.dtype, loss_mask.dtype) == (torch.int64, torch.bool)
    assert (labels[~loss_mask] == -7).all()
    assert labels[loss_mask].min() >= 0
    assert labels.max() < 11
    assert 30 < loss_mask.sum() < 90
    assert torch.equal(get_random_microbatch(3, 40, 11, seed=5)["forward_out"]["token_logits"], logits)
    assert not torch.equal(get_random_microbatch(3, 40, 11, seed=6)["forward_out"]["token_logits"], logits)


def test_steps_of_a_log():
    log = "epoch 0 | global_step: 4 | loss: 2\nepoch 0 | global_step: 15 | x: 1\nglobal_step: 99 |"
    assert extract_global_steps_from_log(log) == [4, 15]
    assert extract_global_steps_from_log("") == []
