# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest
import torch

from bionemo.core.errors import CheckpointError, ConfigError
from bionemo.testing.assert_optimizer_grads_match import assert_optimizer_states_match, relative_bound


shards = pytest.importorskip("bionemo.llm.checkpoints.shards")


def save(folder, moments):
    """A checkpoint of two ranks that share the rows of every matrix."""
    (folder / "shards").mkdir(parents=True)
    for rank in range(2):
        pieces = []
        for name, tensor in moments.items():
            half = len(tensor) // 2
            part = tensor[:half] if rank == 0 else tensor[half:]
            pieces.append(shards.Piece(f"optimizer.state.exp_avg.{name}", tuple(tensor.shape), (rank * half, 0), part))
        shards.write_pieces(folder / "shards", rank, pieces)
    shards.write_index(folder / "shards", 2)
    return folder


@pytest.fixture
def moments():
    generator = torch.Generator().manual_seed(0)
    names = ("embedding.word_embeddings.weight", "encoder.layers.0.mlp.weight", "encoder.layers.31.mlp.weight")
    return {name: torch.randn(8, 4, generator=generator) for name in names}


def test_rounding_is_let_through_and_more_in_earlier_layers(tmp_path, moments):
    first = save(tmp_path / "first", moments)
    noisy = {name: tensor * (1 + 0.9 * relative_bound(name, "bfloat16")) for name, tensor in moments.items()}
    assert_optimizer_states_match([first, save(tmp_path / "second", noisy)])
    assert relative_bound("encoder.layers.31.x", "bfloat16") == pytest.approx(4 * 1.03**2 * 2**-7)
    assert relative_bound("encoder.layers.0.x", "bfloat16") == pytest.approx(4 * 1.03**33 * 2**-7)


def test_a_difference_names_parameter_size_and_bound(tmp_path, moments):
    first = save(tmp_path / "first", moments)
    other = {**moments, "encoder.layers.31.mlp.weight": moments["encoder.layers.31.mlp.weight"] * 1.05}
    with pytest.raises(AssertionError, match=r"layers.31.mlp.weight: .*second differs .* by 5.000e-02 .* 3.315e-02"):
        assert_optimizer_states_match([first, save(tmp_path / "second", other)])
    assert_optimizer_states_match([first, save(tmp_path / "third", other)], dtype="float8_e4m3fn")


def test_a_vocabulary_padded_further_is_the_same(tmp_path, moments):
    words = "embedding.word_embeddings.weight"
    padded = {**moments, words: torch.cat((moments[words], torch.zeros(8, 4)))}
    assert_optimizer_states_match([save(tmp_path / "first", moments), save(tmp_path / "second", padded)])


def test_other_names_are_listed_on_both_sides(tmp_path, moments):
    renamed = {name.replace("layers.0", "layers.1"): tensor for name, tensor in moments.items()}
    with pytest.raises(AssertionError, match=r"only in .*first \['encoder.layers.0.*only in .*\['encoder.layers.1"):
        assert_optimizer_states_match([save(tmp_path / "first", moments), save(tmp_path / "second", renamed)])


def test_nothing_but_zeros_is_no_comparison(tmp_path, moments):
    zeros = {name: torch.zeros_like(tensor) for name, tensor in moments.items()}
    with pytest.raises(AssertionError, match="about zero"):
        assert_optimizer_states_match([save(tmp_path / "first", zeros), save(tmp_path / "second", zeros)])


def test_what_cannot_be_compared(tmp_path, moments):
    first = save(tmp_path / "first", moments)
    with pytest.raises(ConfigError, match="two or more"):
        assert_optimizer_states_match([first])
    with pytest.raises(CheckpointError, match=r"nowhere"):
        assert_optimizer_states_match([first, tmp_path / "nowhere"])


def test_the_command(tmp_path, moments):
    first, same = save(tmp_path / "first", moments), save(tmp_path / "same", moments)
    other = save(tmp_path / "other", {name: tensor + 1 for name, tensor in moments.items()})
    command = [sys.executable, "-m", "bionemo.testing.assert_optimizer_grads_match"]
    done = subprocess.run([*command, first, same], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "2 checkpoints hold the same first moments\n")
    done = subprocess.run([*command, first, other], capture_output=True, text=True)
    assert done.returncode == 1
    assert "embedding.word_embeddings.weight" in done.stderr
