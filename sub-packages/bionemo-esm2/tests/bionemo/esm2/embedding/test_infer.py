# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``infer_esm2`` from a file to a folder: content, order, resume, refusals."""

import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from bionemo.core._config_parser import build_parser
from bionemo.core.errors import DataError, MissingFileError
from bionemo.core.files import is_leftover
from bionemo.core.partitioned_output import FINISHED_NAME
from bionemo.core.resumable import PLAN_NAME
from bionemo.esm2 import open_embeddings
from bionemo.esm2.embedding import infer
from bionemo.esm2.embedding.config import InferESM2Config
from bionemo.esm2.scripts.infer_esm2 import main
from bionemo.testing.kills import kill_runner


PRELOAD = ("bionemo.esm2.embedding.infer", "bionemo.testing.multiprocess", "pyarrow.parquet", "safetensors.numpy")
FLAGS = """
--version --config --debug --help -h
--data-path --sequence-column --id-column --illegal --on-bad-record --checkpoint-path --checkpoint --results-path
--embedding --include-embeddings --no-include-embeddings --include-hiddens --per-residue --no-include-hiddens
--include-logits --no-include-logits --include-input-ids --no-include-input-ids --pseudo-perplexity
--no-pseudo-perplexity --layers --prediction-interval --tokens-per-batch --micro-batch-size --config-class
--lora-checkpoint-path --initial-ckpt-skip-keys-with-these-prefixes --format --plot --resume --no-resume
--length-policy --max-seq-length
--tensor-model-parallel-size --pipeline-model-parallel-size --accelerator --num-gpus --devices --num-nodes --precision
--compile --no-compile
"""


def ids_of(sequences):
    """Ids, of which the last one occurs twice."""
    return [f"P{row}" for row in range(len(sequences) - 1)] + ["P3"]


@pytest.fixture(scope="session")
def fasta(tmp_path_factory, sequences):
    path = tmp_path_factory.mktemp("proteins") / "in.fasta"
    path.write_text("".join(f">{name}\n{s}\n" for name, s in zip(ids_of(sequences), sequences, strict=True)))
    return path


def arguments(oracle, data, results, *extra):
    paths = ("--checkpoint-path", oracle.checkpoint, "--data-path", data, "--results-path", results)
    return [*map(str, (*paths, "--accelerator", "cpu", *extra))]


def test_flags_are_these():
    assert sorted(build_parser(InferESM2Config).flags) == sorted(FLAGS.split())


@pytest.mark.parametrize("interval", ["epoch", "batch"])
def test_results_are_those_of_each_protein_by_id_and_row(
    tmp_path, oracle, sequences, fasta, monkeypatch, capsys, interval
):
    monkeypatch.setattr(infer, "BYTES_PER_PARTITION", 2**15)
    monkeypatch.setattr(infer, "TOKENS_PER_PARTITION", 64)
    extra = ("--include-embeddings", "--per-residue", "--include-logits", "--pseudo-perplexity")
    assert main(arguments(oracle, fasta, tmp_path / "out", *extra, "--prediction-interval", interval)) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    assert len(list((tmp_path / "out/residues").iterdir())) > 3
    assert not list(tmp_path.rglob("partition*"))
    means = open_embeddings(tmp_path / "out", "mean")
    assert set(means.names) == {"mean", "pseudo_perplexity", "hidden_states", "token_logits"}
    assert (means.ids, means.rows.tolist()) == (ids_of(sequences), list(range(len(sequences))))
    opened = {name: open_embeddings(tmp_path / "out", name) for name in means.names}
    for row, sequence in enumerate(sequences):
        states, logits = oracle.states_and_logits(sequence)
        np.testing.assert_allclose(opened["mean"].at(row), states[-1][1:-1].mean(0), atol=1e-5)
        np.testing.assert_allclose(opened["hidden_states"].at(row), states[-1][1:-1], atol=1e-5)
        np.testing.assert_allclose(opened["token_logits"].at(row), logits, atol=1e-5)
    np.testing.assert_array_equal(means["P4"], means.at(4), strict=True)
    np.testing.assert_array_equal(means.matrix(), [means.at(row) for row in means.rows])
    expected = np.exp(-oracle.log_likelihood(sequences[2]))
    np.testing.assert_allclose(opened["pseudo_perplexity"]["P2"], expected, rtol=1e-5)
    assert opened["pseudo_perplexity"].matrix().shape == (len(sequences),)
    for message, look in {
        "'P3': 2 proteins have this id (rows 3, 10)": lambda: means["P3"],
        "'none': no such id": lambda: means["none"],
        "no protein at row 11": lambda: means.at(11),
        "holds pseudo_perplexity, mean, hidden_states, token_logits; name one": lambda: open_embeddings(means._path),
        "asked for is max": lambda: open_embeddings(tmp_path / "out", "max"),
        "hidden_states is of residues": lambda: opened["hidden_states"].matrix(),
    }.items():
        with pytest.raises(DataError) as caught:
            look()
        assert message in str(caught.value)


def test_left_out_rows_are_listed_and_keep_their_places(tmp_path, oracle):
    (tmp_path / "in.csv").write_text("id,sequence\na,MK\nb,MJ\nc,MA\n")
    extra = ("--embedding", "cls", "--on-bad-record", "skip")
    assert main(arguments(oracle, tmp_path / "in.csv", tmp_path / "out", *extra)) == 0
    found = open_embeddings(tmp_path / "out")
    assert (found.ids, found.rows.tolist(), found.name, len(found), "b" in found) == (
        ["a", "c"],
        [0, 2],
        "cls",
        2,
        False,
    )
    np.testing.assert_allclose(found.at(2), oracle.states_and_logits("MA")[0][-1][0], atol=1e-5)
    header, line = (tmp_path / "out/rejected.tsv").read_text().splitlines()
    assert header.split("\t") == ["file", "record", "line", "id", "reason"]
    assert line.split("\t")[1:4] == ["2", "3", "b"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ((), "nothing is asked for: give --embedding mean"),
        (("--embedding", "mean", "--layers", "4"), "layer 4: expected 0 (the embedding) to 3"),
        (("--embedding", "mean", "--layers"), "--layers: none given"),
        (("--embedding", "mean", "--tokens-per-batch", "9", "--micro-batch-size", "2"), "exclude each other"),
        (("--embedding", "mean", "--compile"), "--compile: works on a GPU only"),
        (("--embedding", "mean", "--num-gpus", "0"), "--num-gpus 0: must be at least 1"),
        (("--embedding", "mean", "--id-column", "id"), "belong to tables"),
        (("--embedding", "mean", "--tensor-model-parallel-size", "2"), "--tensor-model-parallel-size"),
        (("--embedding", "mean", "--precision", "fp16"), "float16"),
        (("--embedding", "mean", "--data-path", "/nowhere.csv"), "/nowhere.csv: there is no such file"),
    ],
)
def test_bad_settings_are_one_line_exit_2_and_leave_nothing(tmp_path, oracle, fasta, capsys, extra, message):
    assert main(arguments(oracle, fasta, tmp_path / "out", *extra)) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("infer_esm2: error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_a_bad_record_in_the_middle_leaves_nothing(tmp_path, oracle, capsys, monkeypatch):
    monkeypatch.setattr(infer, "TOKENS_PER_PARTITION", 1)
    (tmp_path / "in.csv").write_text("sequence\nMK\nMJ\n")
    assert main(arguments(oracle, tmp_path / "in.csv", tmp_path / "out", "--embedding", "mean")) == 2
    assert "record 2 ('1'): illegal character 'J'" in capsys.readouterr().err.strip().splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
    with pytest.raises(MissingFileError, match=r"holds no sequences\.parquet"):
        open_embeddings(tmp_path / "out")


def infer_all(args):
    torch.set_num_threads(1)  # in children as in this process: the last digits depend on the number of threads
    with mock.patch.multiple(infer, TOKENS_PER_PARTITION=1, BYTES_PER_PARTITION=2**12):  # a protein each
        assert main(args) == 0


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes by name, without what a kill after the folder got its name may leave beside them."""
    files = (
        path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in (PLAN_NAME, FINISHED_NAME)
    )
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


WRITERS = {
    "parquet": "--embedding mean cls --per-residue --layers 1 3 --plot pca",
    "zarr": "--embedding mean --per-residue --include-logits --format zarr",
    "pt": "--include-embeddings --per-residue --include-logits --format pt",
}


@pytest.mark.parametrize(
    ("writer", "kills"), [("parquet", 3), *(pytest.param(name, 50, marks=pytest.mark.nightly) for name in WRITERS)]
)
def test_killed_and_rerun_writes_the_same_bytes(tmp_path, oracle, fasta, writer, kills):
    extra = WRITERS[writer].split()
    target = tmp_path / "out"
    infer_arguments = arguments(oracle, fasta, target, *extra)
    undisturbed: dict[str, bytes] = {}
    left = []

    def check(kill):
        if not target.exists():
            left.append(len([p for p in (tmp_path / "out.incomplete").glob("partition-*") if not is_leftover(p)]))
            return
        undisturbed.update({} if undisturbed else contents(target))
        assert contents(target) == undisturbed
        shutil.rmtree(target)

    kill_runner(infer_all, infer_arguments, check=check, kills=kills, preload=PRELOAD)
    assert left
    infer_all(infer_arguments)  # what the last kill left is used
    assert contents(target) == undisturbed


def test_unfinished_work_of_other_input_or_settings_is_refused(tmp_path, oracle, sequences, monkeypatch, capsys):
    data, target = tmp_path / "in.csv", tmp_path / "out"
    data.write_text("sequence\n" + "\n".join(sequences[:4]) + "\n")
    monkeypatch.setattr(infer, "TOKENS_PER_PARTITION", 1)

    def stop(*args):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(infer, "write_outputs", stop)
        assert main(arguments(oracle, data, target, "--embedding", "mean")) == 1
    assert main(arguments(oracle, data, target, "--embedding", "mean", "--precision", "bf16-mixed")) == 2
    assert "other settings (precision" in capsys.readouterr().err
    assert main(arguments(oracle, data, target, "--embedding", "max")) == 2
    data.write_text("sequence\nMK\n")
    assert main(arguments(oracle, data, target, "--embedding", "mean")) == 2
    assert "other settings (input)" in capsys.readouterr().err
