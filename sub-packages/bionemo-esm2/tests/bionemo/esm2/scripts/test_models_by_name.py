# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that open a model by its published name, from flags to files, against a Hub on the loopback interface."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest

from bionemo.esm2 import ESM2, build_esm2, load_esm2, open_embeddings, save_esm2
from bionemo.esm2.model.model import ESM2Config
from bionemo.esm2.scripts import convert_esm2, infer_esm2, train_esm2
from bionemo.testing.data.fasta import write_fasta
from bionemo.testing.hub_server import HubServer
from bionemo.testing.proteins import make_proteins


pytest.importorskip("transformers")

NAME = "facebook/esm2_t6_8M_UR50D"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """Serve a small model under a published name."""
    config = ESM2Config(num_layers=2, hidden_size=32, num_attention_heads=4, ffn_hidden_size=64)
    save_esm2(build_esm2(config, seed=3), tmp_path / "repo")
    with HubServer() as server:
        server.use(monkeypatch, tmp_path / "cache")
        server.publish(NAME, tmp_path / "repo", redirect=True)
        yield server


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return write_fasta(tmp_path / "proteins.fasta", make_proteins(40, num_families=2))


@pytest.mark.parametrize("flag", ["--checkpoint", "--checkpoint-path"])
def test_infer_esm2_takes_a_name(flag: str, hub: HubServer, fasta: Path, tmp_path: Path) -> None:
    paths = ("--data-path", str(fasta), "--results-path", str(tmp_path / "out"))
    assert infer_esm2.main([flag, NAME, *paths, "--embedding", "mean", "--accelerator", "cpu"]) == 0
    assert "model.safetensors" in hub.files_asked_for()
    means = open_embeddings(tmp_path / "out")
    sequence = "".join(fasta.read_text().split(">")[1].splitlines()[1:])
    expected = ESM2(load_esm2(tmp_path / "repo")).embed(sequence)[0]
    np.testing.assert_allclose(means.at(0), expected, atol=1e-6)


def test_training_starts_from_a_name_and_its_card_says_so(hub: HubServer, fasta: Path, tmp_path: Path) -> None:
    run = ("--train-fasta", str(fasta), "--result-dir", str(tmp_path / "results"), "--accelerator", "cpu")
    steps = ("--num-steps", "1", "--lr", "1e-12", "--num-dataset-workers", "0", "--max-seq-length", "128")
    assert train_esm2.main(["--init-from-hf", f"{NAME}@main", *run, *steps, "--tokens-per-batch", "256"]) == 0
    checkpoint = tmp_path / "results/esm2/checkpoints/last"
    assert f'base_model: "{NAME}"' in (checkpoint / "README.md").read_text()
    ours, theirs = (load_esm2(path).state_dict() for path in (checkpoint, tmp_path / "repo"))
    assert all(np.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)


def test_a_name_is_converted(hub: HubServer, tmp_path: Path) -> None:
    assert convert_esm2.main([NAME, str(tmp_path / "converted")]) == 0
    weights = "model.safetensors"
    assert (tmp_path / "converted" / weights).read_bytes() == (tmp_path / "repo" / weights).read_bytes()


@pytest.mark.parametrize("command", ["infer_esm2", "train_esm2"])
def test_without_network_and_cache_the_line_names_the_cache(
    command: str, hub: HubServer, fasta: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    out = str(tmp_path / "out")
    arguments = {
        "infer_esm2": ["--checkpoint", NAME, "--data-path", str(fasta), "--results-path", out, "--embedding", "mean"],
        "train_esm2": ["--init-from-hf", NAME, "--train-fasta", str(fasta), "--result-dir", out],
    }
    main = {"infer_esm2": infer_esm2.main, "train_esm2": train_esm2.main}[command]
    assert main([*arguments[command], "--accelerator", "cpu"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert f"{NAME}: not in the cache {tmp_path / 'cache'}, and HF_HUB_OFFLINE is set" in line
    assert hub.requests == []
    left = {path.name for path in (tmp_path / "out").glob("*/*")}
    assert left <= {"data"}  # sequences that training has prepared
