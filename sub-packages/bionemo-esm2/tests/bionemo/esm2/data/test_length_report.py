# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from bionemo.esm2.data.length_report import CroppedCount, count_cropped, log_cropped
from bionemo.esm2.data.packed_dataset import PackedProteinDataset
from bionemo.esm2.data.sequence_store_writer import build_store


LENGTHS = [3, 8, 9, 30, 8, 20]  # residues; a sample has 8 and two special tokens


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / "in.fasta").write_text("".join(f">{i}\n{'M' * length}\n" for i, length in enumerate(LENGTHS)))
    store = build_store(tmp_path / "in.fasta", tmp_path / "store")
    return PackedProteinDataset(store, seed=1, max_seq_length=10, max_tokens=64, masking=None)


def test_sequences_longer_than_a_sample_are_counted(dataset):
    assert count_cropped(dataset) == CroppedCount(6, 3, sum(LENGTHS) + 12, 1 + 22 + 12)
    assert count_cropped(dataset, max_sequences=3) == CroppedCount(3, 1, 3 + 9 + 8 + 6, 1)  # every second one


def test_the_warning_has_the_numbers(dataset, caplog):
    log_cropped(dataset, "training set")
    assert "training set: 3 of 6 sequences (50.0 %) are longer than --max-seq-length 10 tokens" in caplog.text
    assert "leaves out 38.9 % of the tokens" in caplog.text
    caplog.clear()
    dataset.max_seq_length = 32
    log_cropped(dataset, "training set")
    assert caplog.text == ""
