# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Pieces of many ranks make up whole tensors again, any box of them, and damage is named."""

import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.shards import Piece, ShardReader, moment_names, overlap, write_index, write_pieces


WHOLE = torch.arange(24, dtype=torch.float32).reshape(6, 4)
HALF = torch.arange(5, dtype=torch.bfloat16)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three ranks: columns on the first two, the last rows on the third, a vector on the second."""
    write_pieces(tmp_path, 0, [Piece("w", (6, 4), (0, 0), WHOLE[:4, :3])])
    vector = Piece("optimizer.state.exp_avg.b", (5,), (0,), HALF)
    write_pieces(tmp_path, 1, [Piece("w", (6, 4), (0, 3), WHOLE[:4, 3:]), vector])
    write_pieces(tmp_path, 2, [Piece("w", (6, 4), (4, 0), WHOLE[4:])])
    write_index(tmp_path, 3)
    return tmp_path


def test_whole_tensors_and_boxes_of_them(shards: Path) -> None:
    reader = ShardReader(shards)
    assert reader.names == ["optimizer.state.exp_avg.b", "w"]
    torch.testing.assert_close(reader.read("w"), WHOLE, atol=0, rtol=0)
    assert torch.equal(reader.read("optimizer.state.exp_avg.b"), HALF)
    for first in range(6):
        for last in range(first + 1, 7):
            assert torch.equal(reader.read("w", (first, 1), (last - first, 3)), WHOLE[first:last, 1:4])
    assert moment_names(reader.names, "exp_avg") == {"b": "optimizer.state.exp_avg.b"}


def test_what_reaches_beyond_the_tensor_is_zero(shards: Path) -> None:
    """A vocabulary that is padded further on more ranks."""
    padded = ShardReader(shards).read("w", (4, 0), (4, 4))
    assert torch.equal(padded[:2], WHOLE[4:])
    assert not padded[2:].any()


def test_nothing_is_pickled(shards: Path) -> None:
    assert {path.suffix for path in shards.iterdir()} == {".safetensors", ".json"}
    assert json.loads((shards / "index.json").read_text())["tensors"]["w"]["shape"] == [6, 4]


def test_missing_truncated_and_damaged_files_are_named(shards: Path) -> None:
    path = shards / "rank-00001.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"rank-00001.safetensors: checksum .* damaged"):
        ShardReader(shards).verify()
    os.truncate(path, len(content) // 2)
    with pytest.raises(CheckpointError, match=r"rank-00001.safetensors: .* truncated"):
        ShardReader(shards)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"rank-00001.safetensors: no such file.*3 ranks"):
        ShardReader(shards)
    (shards / "index.json").unlink()
    with pytest.raises(CheckpointError, match=r"index\.json"):
        ShardReader(shards)


def test_a_tensor_that_is_not_there(shards: Path) -> None:
    with pytest.raises(CheckpointError, match="lacks v"):
        ShardReader(shards).read("v")


def test_pieces_that_leave_a_gap_are_noticed_when_saved(tmp_path: Path) -> None:
    write_pieces(tmp_path, 0, [Piece("w", (6, 4), (0, 0), WHOLE[:3])])
    with pytest.raises(CheckpointError, match="the pieces of w have 12 values, the whole 24"):
        write_index(tmp_path, 1)


def test_ranks_that_disagree_are_noticed_when_saved(tmp_path: Path) -> None:
    write_pieces(tmp_path, 0, [Piece("w", (6, 4), (0, 0), WHOLE[:3])])
    write_pieces(tmp_path, 1, [Piece("w", (7, 4), (3, 0), WHOLE[3:])])
    with pytest.raises(CheckpointError, match="ranks disagree about w"):
        write_index(tmp_path, 2)


box = st.tuples(st.integers(0, 6), st.integers(1, 6))


@given(st.tuples(box, box), st.tuples(box, box))
def test_overlap_is_where_two_boxes_meet(wanted: tuple, piece: tuple) -> None:
    field = torch.arange(144).reshape(12, 12)

    def cut(axes: tuple) -> torch.Tensor:
        return field[tuple(slice(first, first + size) for first, size in axes)]

    found = overlap(tuple(zip(*wanted, strict=True)), tuple(zip(*piece, strict=True)))
    common = set(cut(wanted).flatten().tolist()) & set(cut(piece).flatten().tolist())
    if found is None:
        assert not common
        return
    into, source = found
    assert torch.equal(cut(wanted)[into], cut(piece)[source])
    assert set(cut(piece)[source].flatten().tolist()) == common
