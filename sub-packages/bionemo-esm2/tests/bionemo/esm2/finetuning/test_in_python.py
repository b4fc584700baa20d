# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning from Python, and the examples of the docstrings."""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

from bionemo.core.errors import DataError
from bionemo.esm2 import ESM2, FinetunedESM2


MODULES = (
    *(f"finetuning.{name}" for name in "labels kmer_clusters splits pictures finetuned".split()),
    *("evaluation.ridge", "evaluation.blosum", "evaluation.tasks", "esm2"),
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_do_what_they_show(name: str) -> None:
    module = importlib.import_module(f"bionemo.esm2.{name}")
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert found.attempted
    assert found.failed == 0


def test_sequences_in_memory_are_learned_and_predicted(pretrained: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice(list("AKLEG"), 12)) for _ in range(40)]
    states = ["".join("b" if letter in "KE" else "a" for letter in one) for one in sequences]
    model = ESM2.from_pretrained(pretrained, device="cpu")
    tuned = model.finetune(
        sequences, states, run_dir=tmp_path / "runs" / "states", level="residue", task_type="classification",
        num_epochs=6, lr=5e-3, micro_batch_size=4, val_check_interval=24, accelerator="cpu",
    )  # fmt: skip
    assert tuned.scores["labels"]["accuracy"] > 0.9
    predicted = tuned.predict(["AKAK", "GE"])
    assert [len(one) for one in predicted] == [4, 2]
    assert set("".join("".join(one) for one in predicted)) <= {"a", "b"}
    shares = tuned.predict_proba("AKAK")[0]
    assert shares.shape == (4, 2)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-6)
    again = FinetunedESM2.from_pretrained(tmp_path / "runs" / "states", device="cpu")
    np.testing.assert_array_equal(again.predict_proba("AKAK")[0], shares)
    with pytest.raises(DataError, match="39 labels for 40 sequences"):
        model.finetune(sequences, states[:-1], run_dir=tmp_path / "other")
    with pytest.raises(DataError, match="sequence 1: has no residues"):
        tuned.predict(["MK", ""])
