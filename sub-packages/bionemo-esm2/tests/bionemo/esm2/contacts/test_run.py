# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``contacts_esm2`` from files to a folder: maps, pictures, precision, refusals, resume."""

import csv
import shutil

import numpy as np
import pytest
import torch

from bionemo.core._config_parser import build_parser
from bionemo.core.partitioned_output import FINISHED_NAME
from bionemo.core.resumable import PLAN_NAME
from bionemo.esm2.contacts.config import ContactsESM2Config
from bionemo.esm2.scripts.contacts_esm2 import main
from bionemo.testing.kills import kill_runner


PRELOAD = ("bionemo.esm2.contacts.run", "bionemo.testing.multiprocess", "matplotlib.figure", "gemmi")
FLAGS = """
--version --config --debug --help -h
--data-path --sequence-column --id-column --on-bad-record --structure-path --structure-chain --results-path --method
--tokens-per-batch --checkpoint-path --checkpoint --accelerator --num-gpus --devices --num-nodes --precision
"""
ATOM = "ATOM  {number:5}  CA  {name} A{number:4}    {x:8.3f}{y:8.3f}   0.000  1.00  0.00           C"


@pytest.fixture
def inputs(tmp_path, protein):
    """Two proteins, and a structure of the second: a ring, whose ends touch."""
    pytest.importorskip("gemmi")
    (tmp_path / "in.fasta").write_text(f">one/1\n{protein[:9]}\n>two\n{protein}\n")
    names = dict(
        zip(
            "ARNDCQEGHILKMFPSTWYV",
            "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split(),
            strict=True,
        )
    )
    angles = np.arange(len(protein)) * 2 * np.pi / len(protein)
    lines = [
        ATOM.format(number=place + 1, name=names[letter], x=18 * np.cos(angle), y=18 * np.sin(angle))
        for place, (letter, angle) in enumerate(zip(protein, angles, strict=True))
    ]
    (tmp_path / "structures").mkdir()
    (tmp_path / "structures/two.pdb").write_text("\n".join([*lines, "END", ""]))
    return tmp_path


def arguments(oracle, inputs, *extra):
    paths = ("--checkpoint-path", oracle.checkpoint, "--data-path", inputs / "in.fasta")
    structures = ("--structure-path", inputs / "structures", "--results-path", inputs / "out")
    return [*map(str, (*paths, *structures, "--accelerator", "cpu", *extra))]


def test_flags_are_these():
    assert sorted(build_parser(ContactsESM2Config).flags) == sorted(FLAGS.split())


def test_maps_pictures_and_precision_of_every_protein(oracle, protein, inputs, capsys):
    assert main(arguments(oracle, inputs)) == 0
    assert capsys.readouterr().out.strip() == str(inputs / "out")
    names = "00000-one_1.npz 00000-one_1.png 00001-two.npz 00001-two.png config.yaml precision.csv"
    assert sorted(path.name for path in (inputs / "out").iterdir()) == names.split()
    found = np.load(inputs / "out/00001-two.npz")
    np.testing.assert_allclose(found["contacts"], oracle.contacts(protein), atol=1e-5)
    assert (str(found["id"]), str(found["sequence"]), str(found["method"])) == ("two", protein, "attention")
    assert found["structure_contacts"][0, 29]
    assert not found["structure_contacts"][0, 15]
    with (inputs / "out/precision.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["id"] for row in rows} == {"two"}
    assert [(row["range"], row["top"]) for row in rows[:3]] == [("short", "L"), ("short", "L/2"), ("short", "L/5")]
    contacts = oracle.contacts(protein)
    pairs = sorted(((contacts[i, j], i, j) for i in range(30) for j in range(i + 24, 30)), reverse=True)[:6]
    expected = np.mean([found["structure_contacts"][i, j] for _, i, j in pairs])
    assert float(next(row["precision"] for row in rows if (row["range"], row["top"]) == ("long", "L/5"))) == (
        pytest.approx(expected, abs=1e-4)
    )
    assert (inputs / "out/00001-two.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--structure-path", "/nowhere"), "--structure-path /nowhere: there is no such file or folder"),
        (("--structure-chain", "Z"), "no protein chain 'Z', found A"),
        (("--num-gpus", "0"), "--num-gpus 0: must be at least 1"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_leaves_nothing(oracle, inputs, capsys, extra, message):
    assert main(arguments(oracle, inputs, *extra)) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("contacts_esm2: error: ")
    assert message in line
    assert {path.name for path in inputs.iterdir()} == {"in.fasta", "structures"}


def predict_all(args):
    torch.set_num_threads(1)  # in children as in this process: the last digits depend on the number of threads
    assert main(args) == 0


def contents(folder):
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in (PLAN_NAME, FINISHED_NAME))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.nightly)])
def test_killed_and_rerun_writes_the_same_bytes(oracle, inputs, kills):
    target = inputs / "out"
    undisturbed: dict[str, bytes] = {}

    def check(kill):
        if not target.exists():
            return
        undisturbed.update({} if undisturbed else contents(target))
        assert contents(target) == undisturbed
        shutil.rmtree(target)

    kill_runner(predict_all, arguments(oracle, inputs), check=check, kills=kills, preload=PRELOAD)
    predict_all(arguments(oracle, inputs))  # what the last kill left is used
    assert contents(target) == undisturbed
    assert len(undisturbed) == 6
