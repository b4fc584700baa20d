# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
import time

import pytest

from bionemo.core._config_parser import build_parser
from bionemo.esm2.data.prepare_config import PrepareESM2DataConfig
from bionemo.esm2.data.sequence_store import SequenceStore
from bionemo.esm2.scripts.prepare_esm2_data import main


FLAGS = """
--fasta --output-dir --clusters --format --valid-fraction --seed --illegal --on-bad-record --duplicate-ids
--overwrite --no-overwrite --config --debug --version --help -h
"""


def _run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture
def fasta_path(tmp_path):
    path = tmp_path / "in.fasta"
    path.write_text("".join(f">s{i}\nMKTAY\n" for i in range(40)))
    return path


def test_flags_are_the_golden_list():
    parser = build_parser(PrepareESM2DataConfig)
    assert {flag for action in parser._actions for flag in action.option_strings} == set(FLAGS.split())


def test_a_store_and_its_path_on_stdout(tmp_path, fasta_path, capsys):
    assert _run("--fasta", fasta_path, "--output-dir", tmp_path / "store") == 0
    assert capsys.readouterr().out == f"{(tmp_path / 'store').resolve()}\n"
    assert len(SequenceStore.open(tmp_path / "store")) == 40


def test_the_established_files(tmp_path, fasta_path, capsys):
    assert _run("--fasta", fasta_path, "--output-dir", tmp_path / "out", "--format", "sqlite") == 0
    assert (tmp_path / "out" / "proteins.db").exists()
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--valid-fraction", "0.1"], "--valid-fraction belongs to --format sqlite"),
        (["--format", "sqlite", "--valid-fraction", "0.001"], "--valid-fraction 0.001 of 40 records"),
        (["--clusters", "none.tsv"], "none.tsv: there is no such cluster file"),
        (["--format", "csv"], "--format"),
    ],
)
def test_bad_flags_are_one_line_and_exit_2(tmp_path, fasta_path, capsys, extra, message):
    assert _run("--fasta", fasta_path, "--output-dir", tmp_path / "out", *extra) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("prepare_esm2_data: error: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_bad_input_is_one_line_and_exit_2(tmp_path, fasta_path, capsys):
    fasta_path.write_text(">a\nMK\n>b\nMKJ\n")
    assert _run("--fasta", fasta_path, "--output-dir", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "record 2 ('b'): illegal character 'J' at residue 3" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_help_is_light():
    code = (
        "import sys; from bionemo.esm2.scripts.prepare_esm2_data import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit(', '.join(m for m in ('torch', 'numpy', 'pyarrow', 'lightning') if m in sys.modules) or None)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--output-dir" in done.stdout
    assert time.perf_counter() - start < 10  # one second on an idle machine


def test_policies_and_several_files_reach_the_writer(tmp_path, fasta_path, capsys):
    bad = tmp_path / "bad.fa"
    bad.write_text(">x\nMJ\n>s1\nMKT\n>y\nM1\n>z\nM-K\n")
    assert _run("--fasta", fasta_path, bad, "--output-dir", tmp_path / "store", "--on-bad-record", "fix") == 0
    store = SequenceStore.open(tmp_path / "store")
    assert [store.id(idx) for idx in range(39, len(store))] == ["s39", "x", "s1_2", "z"]
    assert [store.sequence(idx) for idx in range(40, len(store))] == ["MX", "MKT", "MK"]
    rejected = (tmp_path / "store" / "rejected.tsv").read_text().splitlines()
    assert [line.split("\t")[:4] for line in rejected[1:]] == [[str(bad), "3", "5", "y"]]
    assert "1 records were left out, listed in" in capsys.readouterr().err
    flags = ("--format", "sqlite", "--on-bad-record", "skip", "--illegal", "unk", "--duplicate-ids", "number")
    assert _run("--fasta", fasta_path, bad, "--output-dir", tmp_path / "out", *flags) == 0
    assert (tmp_path / "out" / "rejected.tsv").read_text().splitlines() == rejected


def test_standard_input(tmp_path, fasta_path):
    command = [sys.executable, "-m", "bionemo.esm2.scripts.prepare_esm2_data"]
    with fasta_path.open("rb") as file:
        done = subprocess.run(
            [*command, "--fasta", "-", "--output-dir", str(tmp_path / "store")],
            stdin=file,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert len(SequenceStore.open(tmp_path / "store")) == 40
