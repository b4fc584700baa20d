# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The other forms of ``infer_esm2``'s results: BioNeMo 2's files, zarr, the page with a plot; and long proteins."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bionemo.core.resumable import PLAN_NAME
from bionemo.esm2 import build_esm2, esm2_config, open_embeddings, save_esm2
from bionemo.esm2.embedding import cpu_precision, infer
from bionemo.esm2.embedding.plot import PLOT_NAME
from bionemo.esm2.scripts.infer_esm2 import main
from bionemo.testing.subprocess_utils import run_command_with_timeout


@pytest.fixture
def fasta(tmp_path: Path, sequences) -> Path:
    path = tmp_path / "in.fasta"
    path.write_text("".join(f">P{row}\n{sequence}\n" for row, sequence in enumerate(sequences)))
    return path


def arguments(oracle, data, results, *extra):
    return [*map(str, ("--checkpoint", oracle.checkpoint, "--data-path", data, "--results-path", results)), *extra]


def infer_on_cpu(oracle, data, results, *extra):
    assert main(arguments(oracle, data, results, "--accelerator", "cpu", *extra)) == 0
    return results


@pytest.mark.parametrize("interval", ["epoch", "batch"])
def test_bionemo_2_finds_its_files_names_and_shapes(oracle, sequences, fasta, tmp_path, monkeypatch, interval) -> None:
    monkeypatch.setattr(infer, "TOKENS_PER_PARTITION", 100)
    flags = "--include-hiddens --include-logits --include-input-ids --include-embeddings --format pt"
    out = infer_on_cpu(oracle, fasta, tmp_path / "out", *flags.split(), "--prediction-interval", interval)
    names = sorted(path.name for path in out.glob("*.pt"))
    number = len(names)
    expected = ["predictions__rank_0__dp_rank_0.pt"]
    if interval == "batch":
        assert number > 2
        expected = sorted(f"predictions__rank_0__dp_rank_0__batch_{batch}.pt" for batch in range(number))
    assert names == expected
    rows = []
    for batch in range(number):
        name = names[0] if interval == "epoch" else f"predictions__rank_0__dp_rank_0__batch_{batch}.pt"
        found = torch.load(out / name, weights_only=True)
        longest = max(len(sequences[row]) for row in found["rows"]) + 2
        assert found["token_logits"].shape == (longest, len(found["rows"]), 128)
        for place, row in enumerate(found["rows"].tolist()):
            states, logits = oracle.states_and_logits(sequences[row])
            size = len(sequences[row]) + 2
            assert found["ids"][place] == f"P{row}"
            np.testing.assert_allclose(found["hidden_states"][place, :size], states[-1], atol=1e-5)
            np.testing.assert_allclose(found["token_logits"][1 : size - 1, place, :33], logits, atol=1e-5)
            np.testing.assert_allclose(found["embeddings"][place], states[-1][1:-1].mean(0), atol=1e-5)
            assert (found["input_ids"][place, size:] == 1).all()
            assert not found["hidden_states"][place, size:].any()
        rows += found["rows"].tolist()
    assert rows == list(range(len(sequences)))


def test_zarr_holds_the_same_residues_and_opens_by_id(oracle, sequences, fasta, tmp_path, monkeypatch) -> None:
    zarr = pytest.importorskip("zarr")
    monkeypatch.setattr(infer, "TOKENS_PER_PARTITION", 100)
    flags = ("--include-hiddens", "--include-logits", "--format", "zarr")
    out = infer_on_cpu(oracle, fasta, tmp_path / "out", *flags)
    assert not (out / "residues").exists()
    states = open_embeddings(out, "hidden_states")
    assert states.names == ("hidden_states", "token_logits")
    for row, sequence in enumerate(sequences):
        np.testing.assert_allclose(states.at(row), oracle.states_and_logits(sequence)[0][-1][1:-1], atol=1e-5)
    store = zarr.open_group(str(out / "residues.zarr"), mode="r")
    assert store["offsets"][:].tolist() == [0, *np.cumsum([len(sequence) for sequence in sequences])]
    assert store["token_logits"].shape == (sum(map(len, sequences)), 33)


def test_the_page_has_every_protein_where_principal_components_put_it(oracle, sequences, fasta, tmp_path) -> None:
    out = infer_on_cpu(oracle, fasta, tmp_path / "out", "--embedding", "max", "--plot", "pca")
    page = (out / PLOT_NAME).read_text()
    data = json.loads(page.split('id="points">')[1].split("</script>")[0])
    assert data["columns"]["id"] == [f"P{row}" for row in range(len(sequences))]
    assert data["columns"]["length"] == [len(sequence) for sequence in sequences]
    vectors = open_embeddings(out, "max").matrix().astype(np.float64)
    vectors -= vectors.mean(0)
    left, sizes, _ = np.linalg.svd(vectors, full_matrices=False)
    for axis, values in enumerate((data["x"], data["y"])):
        expected = left[:, axis] * sizes[axis]
        np.testing.assert_allclose(values, expected * np.sign(expected @ values), atol=1e-4)
    share = 100 * sizes[0] ** 2 / (sizes**2).sum()
    assert data["axes"][0] == f"principal component 1 ({share:.1f} % of the variance)"
    assert "http" not in page


def test_long_proteins_by_policy_and_never_without_a_word(oracle, sequences, fasta, tmp_path, capsys, caplog) -> None:
    limit = ("--embedding", "mean", "--max-seq-length", "27")
    whole = open_embeddings(infer_on_cpu(oracle, fasta, tmp_path / "full", *limit)).matrix()
    windows = open_embeddings(
        infer_on_cpu(oracle, fasta, tmp_path / "window", *limit, "--length-policy", "window")
    ).matrix()
    cut = open_embeddings(infer_on_cpu(oracle, fasta, tmp_path / "truncate", *limit, "--length-policy", "truncate"))
    long = np.array([len(sequence) > 25 for sequence in sequences])
    assert long.sum() == 3
    np.testing.assert_allclose(windows[~long], whole[~long], atol=1e-5)
    assert (np.abs(windows - whole)[long].max(axis=1) > 1e-3).all()
    for row, sequence in enumerate(sequences):
        np.testing.assert_allclose(
            cut.at(row), oracle.states_and_logits(sequence[:25])[0][-1][1:-1].mean(0), atol=1e-5
        )
    line = "3 proteins were cut to their first 25 residues (--length-policy truncate), the first is row 2"
    assert line in caplog.text
    assert cut.lengths.max() == 25
    flags = (*limit, "--length-policy", "error", "--accelerator", "cpu")
    assert main(arguments(oracle, fasta, tmp_path / "error", *flags)) == 2
    assert "row 2 (P2) has 40 residues, --max-seq-length leaves 25" in capsys.readouterr().err
    assert not (tmp_path / "error").exists()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("--embedding mean --format zarr", "--format zarr: is of residues"),
        ("--embedding max --format pt", "--format pt: holds mean embeddings"),
        ("--include-hiddens --format pt --layers 1", "--format pt: holds mean embeddings"),
        ("--include-hiddens --plot pca", "--plot: needs an embedding of whole proteins"),
        ("--embedding mean --max-seq-length 3", "--max-seq-length 3: must be at least 4"),
        ("--embedding mean --config-class ESM2FineTuneSeqConfig", "a fine-tuned head predicts with predict_esm2"),
        ("--embedding mean --lora-checkpoint-path x", "give the fine-tuned folder as --checkpoint-path"),
        ("--embedding mean --initial-ckpt-skip-keys-with-these-prefixes regression_head", "leave it out"),
    ],
)
def test_settings_that_do_not_go_together_are_one_line(oracle, fasta, tmp_path, capsys, extra, message) -> None:
    assert main(arguments(oracle, fasta, tmp_path / "out", *extra.split())) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_no_resume_discards_what_a_killed_run_left(oracle, fasta, tmp_path, monkeypatch) -> None:
    def stop(*args):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(infer, "write_outputs", stop)
        assert main(arguments(oracle, fasta, tmp_path / "out", "--embedding", "mean", "--accelerator", "cpu")) == 1
    assert (tmp_path / "out.incomplete" / PLAN_NAME).exists()
    other = arguments(oracle, fasta, tmp_path / "out", "--embedding", "max", "--accelerator", "cpu")
    assert main(other) == 2
    assert main([*other, "--no-resume"]) == 0
    assert open_embeddings(tmp_path / "out").names == ("max",)


def precision_of(oracle, fasta, out, monkeypatch, *, cosine=0.0, speedup=0.0, has=True, min_bytes=0) -> str:
    monkeypatch.setattr(cpu_precision, "has_bfloat16", lambda: has)
    monkeypatch.setattr(cpu_precision, "MIN_COSINE", cosine)
    monkeypatch.setattr(cpu_precision, "MIN_SPEEDUP", speedup)
    monkeypatch.setattr(infer, "MIN_INPUT_BYTES", min_bytes)
    infer_on_cpu(oracle, fasta, out, "--embedding", "mean")
    means = open_embeddings(out).matrix()
    exact = [
        oracle.states_and_logits(line.strip())[0][-1][1:-1].mean(0) for line in fasta.read_text().splitlines()[1::2]
    ]
    return "float32" if np.abs(means - exact).max() < 1e-5 else "bfloat16"


def test_auto_takes_bfloat16_where_the_processor_has_it_and_a_check_passes(
    oracle, fasta, tmp_path, monkeypatch, caplog
) -> None:
    caplog.set_level("INFO")
    run = lambda name, **changes: precision_of(oracle, fasta, tmp_path / name, monkeypatch, **changes)  # noqa: E731
    assert run("a") == "bfloat16"
    assert "--precision auto: bf16-mixed on this CPU; bfloat16 takes" in caplog.text
    assert run("b", cosine=1.1) == "float32"
    assert run("c", speedup=1e9) == "float32"
    assert run("d", has=False) == "float32"
    assert run("e", min_bytes=10**9) == "float32"


def test_a_resumed_run_keeps_the_precision_that_it_was_begun_with(oracle, fasta, tmp_path, monkeypatch) -> None:
    """The check measures time: it may say something else the second time."""
    with monkeypatch.context() as patch:
        patch.setattr(infer, "finish", lambda *args: 1 / 0)
        patch.setattr(infer, "cpu_precision", lambda *args: "bf16-mixed")
        arguments_of_run = arguments(oracle, fasta, tmp_path / "out", "--embedding", "mean", "--accelerator", "cpu")
        assert main(arguments_of_run) == 1
    assert precision_of(oracle, fasta, tmp_path / "out", monkeypatch, has=False) == "bfloat16"


@pytest.mark.nightly
def test_two_ranks_of_torchrun_write_the_same_bytes_as_one(oracle, fasta, tmp_path) -> None:
    """Packs of one token budget: each partition is computed alike, whoever does it."""
    module = "bionemo.esm2.scripts.infer_esm2"
    torchrun = [*[sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", module]]
    flags = ("--accelerator", "cpu", "--embedding", "mean", "--per-residue", "--devices")
    command = shlex.join([*torchrun, *arguments(oracle, fasta, tmp_path / "two", *flags, "2")])
    done = run_command_with_timeout(command, tmp_path, {**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'two'}\n"), done.stderr
    one = [sys.executable, "-m", module, *arguments(oracle, fasta, tmp_path / "one", *flags, "1")]
    subprocess.run(one, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
    names = ("sequences.parquet", "residues/shard-00000.safetensors")
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)


LONG = """
import re, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from bionemo.esm2.scripts.infer_esm2 import main
status = main(sys.argv[1:])
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024)
sys.exit(status)
"""


@pytest.mark.nightly
def test_a_protein_of_35000_residues_embeds_whole_in_4_gb(tmp_path: Path) -> None:
    """As long as titin; the peak is that of the whole process, torch and all."""
    save_esm2(build_esm2(esm2_config("8M"), seed=1), tmp_path / "model")
    letters = np.random.default_rng(0).choice(list("LAGVSERTIDPKQNFYMHWC"), 35_000)
    (tmp_path / "long.fasta").write_text(">titin\n" + "".join(letters) + "\n")
    paths = f"--checkpoint {tmp_path}/model --data-path {tmp_path}/long.fasta --results-path {tmp_path}/out"
    flags = "--embedding mean --per-residue --accelerator cpu --precision fp32"
    done = subprocess.run(
        [sys.executable, "-c", LONG, *paths.split(), *flags.split()], capture_output=True, text=True, check=True
    )
    peak = int(done.stdout.splitlines()[-1])
    print(f"peak {peak / 1e9:.2f} GB")
    assert open_embeddings(tmp_path / "out", "hidden_states")["titin"].shape == (35_000, 320)
    assert peak <= 4e9
