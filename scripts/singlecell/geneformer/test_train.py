# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The script as a user runs it: archives of made-up cells in, a checkpoint for transformers out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bionemo.llm.checkpoints.hf_directory import read_json
from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.testing.cells import make_cells


# One thread: idle ones spin, which on shared cores is slower than doing without.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SCRIPT = Path(__file__).with_name("train.py")


def run(*flags: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=ENVIRONMENT, check=False)


def test_made_up_cells_are_learned(tmp_path: Path) -> None:
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset

    cells = make_cells(400, num_genes=100, num_types=4)
    adata = cells.to_anndata()
    for name, part in (("train", adata[:340]), ("val", adata[340:])):
        part.copy().write_h5ad(tmp_path / f"{name}.h5ad")
        SingleCellMemMapDataset.from_h5ad(tmp_path / f"{name}.h5ad", tmp_path / "archives" / name, use_X_not_raw=True)
    tokens = ["<pad>", "<mask>", *cells.gene_ids]
    (tmp_path / "tokens.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (tmp_path / "medians.json").write_text(json.dumps(dict.fromkeys(cells.gene_ids, 1.0)))
    done = run(
        f"--data-dir={tmp_path / 'archives'}", f"--token-dictionary={tmp_path / 'tokens.json'}",
        f"--gene-medians={tmp_path / 'medians.json'}", f"--result-dir={tmp_path}", "--seq-length=128",
        "--tokens-per-batch=1024", "--num-layers=2", "--hidden-size=64", "--ffn-hidden-size=128", "--lr=3e-3",
        "--max-steps=150", "--cosine-rampup-frac=0.1", "--accelerator=cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run_dir = Path(done.stdout.strip())
    line = read_json(run_dir / "checkpoints/last/training_state/state.json")["agreement"]["unigram_loss"]
    masked = read_metrics(run_dir / "metrics.csv")["val_loss_masked"]
    assert masked[~np.isnan(masked)][-1] < line - 0.1
    transformers = pytest.importorskip("transformers")
    assert transformers.BertForMaskedLM.from_pretrained(run_dir / "checkpoints/last").config.num_hidden_layers == 2


def test_bad_input_is_one_line_and_exit_code_two(tmp_path: Path) -> None:
    done = run(f"--data-dir={tmp_path}", f"--token-dictionary={tmp_path / 'none.json'}", f"--result-dir={tmp_path}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "none.json" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
