# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bionemo.scdl.io.row_chunks import row_chunks


@given(lengths=st.lists(st.integers(0, 9), max_size=30), limit=st.integers(1, 12), data=st.data())
def test_pieces_cover_all_rows_within_the_limit(lengths, limit, data):
    pointers = np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint16)
    first = data.draw(st.integers(0, len(lengths)))
    last = data.draw(st.integers(first, len(lengths)))
    pieces = list(row_chunks(pointers, limit, first, last))
    assert [row for piece in pieces for row in range(piece.start, piece.stop)] == list(range(first, last))
    for piece in pieces:
        assert int(pointers[piece.stop]) - int(pointers[piece.start]) <= limit or piece.stop - piece.start == 1
