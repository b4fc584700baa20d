# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from bionemo.scdl.io.row_batch import RowBatch


def make_batch():
    """Two rows of two values."""
    return RowBatch(np.array([1.0, 2, 3, 4]), np.array([0, 3, 1, 2], np.int32), np.array([0, 2, 4]), np.dtype(float))


ROWS = [[[1, 2], [0, 3]], [[3, 4], [1, 2]]]


@pytest.mark.parametrize(
    "as_rows",
    [
        lambda batch: list(batch),
        lambda batch: tuple(batch),
        lambda batch: [*batch],
        lambda batch: [batch[0], batch[-1]],
        lambda batch: batch[:],
        lambda batch: batch + [],  # noqa: RUF005  # the method under test
        lambda batch: batch.copy(),
        lambda batch: list(reversed(batch))[::-1],
        lambda batch: list(default_collate(batch)),
        lambda batch: list(torch.stack(batch)),
        lambda batch: list(torch.stack(tensors=batch)),
        lambda batch: list(torch.cat(batch).view(2, 2, 2)),
        lambda batch: list(torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)),
        lambda batch: (
            [torch.stack(pair) for pair in zip(*([row[0], row[1]] for row in batch), strict=True)][::-1][:0]
            or list(batch)
        ),
    ],
)
def test_every_reader_of_a_list_finds_the_rows(as_rows):
    assert [row.tolist() for row in as_rows(make_batch())] == ROWS


def test_it_is_a_list_and_stays_compact_until_read():
    batch = make_batch()
    assert isinstance(batch, list)
    assert len(batch) == 2
    assert batch.is_compact
    assert all(type(row) is torch.Tensor for row in batch)
    assert batch.is_compact


def test_changing_the_list_makes_it_an_ordinary_one():
    for change in (lambda b: b.pop(), lambda b: b.append(0), lambda b: b.reverse(), lambda b: b.__setitem__(0, 1)):
        batch = make_batch()
        change(batch)
        assert not batch.is_compact
    batch = make_batch()
    batch.reverse()
    assert [row.tolist() for row in batch] == ROWS[::-1]


def test_pickling_keeps_it_compact():
    copy = pickle.loads(pickle.dumps(make_batch()))  # noqa: S301  # made on this line
    assert copy.is_compact
    assert [row.tolist() for row in copy] == ROWS


def test_a_batch_can_be_cut_into_others():
    first, nothing, second = make_batch().split([1, 0, 1])
    assert [len(part) for part in (first, nothing, second)] == [1, 0, 1]
    assert (first[0].tolist(), second[0].tolist()) == (ROWS[0], ROWS[1])
    assert second.row_ptr.tolist() == [0, 2]
