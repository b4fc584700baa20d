# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""metrics.csv: exact numbers, single writes, and the clean-up on resume."""

import math
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from bionemo.core.errors import DataError, DataFileError, FormatError, MissingFileError
from bionemo.llm.training.metrics_csv import COLUMNS, MetricsCsv, read_metrics


HEADER = "step,consumed_samples,consumed_sequences,consumed_tokens,lr,train_loss,val_loss,val_loss_masked,val_ppl,tokens_per_s\n"  # noqa: E501 - one line of the file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.csv"


def _run_of(path, steps):
    metrics = MetricsCsv(path)
    for step in steps:
        metrics.append({"step": step, "train_loss": 1.0 / (step + 3)})
    return metrics


def test_text_of_a_file(path):
    metrics = MetricsCsv(path)
    metrics.append({"step": 1, "consumed_samples": 2, "consumed_sequences": 30, "consumed_tokens": 8000, "lr": 4e-05})
    metrics.append({"step": 2, "train_loss": 0.1 + 0.2, "val_loss": None, "val_ppl": float("nan"), "tokens_per_s": 7})
    assert path.read_text() == HEADER + "1,2,30,8000,4e-05,,,,,\n" + "2,,,,,0.30000000000000004,,,nan,7.0\n"


def test_numbers_come_back_bit_for_bit(path):
    rng = np.random.default_rng(5)
    values = rng.standard_normal(50) * 10.0 ** rng.integers(-300, 300, 50)
    metrics = MetricsCsv(path)
    for step, value in enumerate(values):
        metrics.append({"step": step, "train_loss": value, "consumed_tokens": 2**52 + step})
    table = read_metrics(path)
    assert table["train_loss"].tobytes() == values.tobytes()
    np.testing.assert_array_equal(table["step"], np.arange(50), strict=True)
    np.testing.assert_array_equal(table["consumed_tokens"], 2.0**52 + np.arange(50))
    assert np.isnan(table["lr"]).all()
    assert tuple(table) == COLUMNS


@pytest.mark.parametrize(
    "number", [np.float32(0.1), torch.tensor(0.1), torch.tensor([0.1])], ids=["numpy", "0-d", "1-d"]
)
def test_float32_numbers_keep_their_value(path, number):
    MetricsCsv(path).append({"step": np.int64(3), "val_loss": number})
    assert path.read_text().splitlines()[1] == "3,,,,,,0.10000000149011612,,,"


def test_a_second_writer_goes_on_without_a_second_header(path):
    _run_of(path, [1, 2])
    _run_of(path, [3])
    np.testing.assert_array_equal(read_metrics(path)["step"], [1, 2, 3])


class TestResume:
    def test_removes_rows_after_the_step_and_a_torn_line(self, path):
        _run_of(path, range(1, 8))
        kept = path.read_bytes().splitlines(keepends=True)[:6]
        with path.open("ab") as file:
            file.write(b"8,1,2,30")
        metrics = MetricsCsv.resume_from(path, 5)
        assert path.read_bytes() == b"".join(kept)
        metrics.append({"step": 6})
        np.testing.assert_array_equal(read_metrics(path)["step"], [1, 2, 3, 4, 5, 6])

    def test_a_torn_line_that_looks_like_an_earlier_step(self, path):
        # "12345,…" cut after two digits would read as step 12.
        _run_of(path, [10, 12345])
        path.write_bytes(path.read_bytes()[: path.read_bytes().rindex(b"12345") + 2])
        MetricsCsv.resume_from(path, 20_000)
        np.testing.assert_array_equal(read_metrics(path)["step"], [10])

    def test_leaves_a_clean_file_in_place(self, path):
        _run_of(path, [1, 2])
        inode = path.stat().st_ino
        MetricsCsv.resume_from(path, 2)
        assert path.stat().st_ino == inode

    def test_replaces_instead_of_truncating(self, path):
        _run_of(path, [1, 2, 3])
        with path.open() as reader:
            MetricsCsv.resume_from(path, 1)
            assert len(reader.readlines()) == 4  # whoever has it open still reads the old, whole file

    @pytest.mark.parametrize(
        "content", [None, "", HEADER[:20], HEADER], ids=["missing", "empty", "torn header", "header"]
    )
    def test_without_rows_begins_anew(self, path, content):
        if content is not None:
            path.write_text(content)
        MetricsCsv.resume_from(path, 4).append({"step": 5})
        assert path.read_text() == HEADER + "5,,,,,,,,,\n"

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("a,b\n1,2\n", "the first line is 'a,b', expected 'step,"),
            ("notes", "the first line is 'notes'"),
            (HEADER + "1,,,,,,,,,\nx,,,,,,,,,\n2,,,,,,,,,\n", "line 3: 'x,,,,,,,,,' does not begin with a step"),
        ],
    )
    def test_refuses_what_is_not_its_file(self, path, content, message):
        path.write_text(content)
        with pytest.raises(FormatError, match=message):
            MetricsCsv.resume_from(path, 1)
        assert path.read_text() == content

    def test_plain_opening_refuses_a_torn_line(self, path):
        path.write_text(HEADER + "1,,")
        with pytest.raises(FormatError, match="last line is torn"):
            MetricsCsv(path)


def test_every_row_survives_sigkill(path):
    code = (
        "import os, signal, sys\n"
        "from bionemo.llm.training.metrics_csv import MetricsCsv\n"
        "metrics = MetricsCsv(sys.argv[1])\n"
        "for step in range(100): metrics.append({'step': step, 'lr': step / 7})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert result.returncode == -signal.SIGKILL
    table = read_metrics(path)
    assert table["lr"].tolist() == [step / 7 for step in range(100)]


def _write_with_size_limit(path, limit_bytes):
    """Append to ``path`` in this process while no file may grow beyond the limit; a full disk acts alike."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        MetricsCsv(path).append({"step": 2, "train_loss": 1 / 3})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.skipif(sys.platform != "linux", reason="file size limits as Linux has them")
@pytest.mark.parametrize("room", [0, 10], ids=["nothing fits", "half a row fits"])
def test_a_full_disk_leaves_no_half_row(path, room):
    _run_of(path, [1])
    before = path.read_bytes()
    with pytest.raises(DataFileError, match=r"metrics\.csv: cannot append to it: File too large"):
        _write_with_size_limit(path, len(before) + room)
    assert path.read_bytes() == before


def test_missing_folder(tmp_path):
    with pytest.raises(DataFileError, match="cannot append to it: No such file"):
        MetricsCsv(tmp_path / "no" / "metrics.csv").append({"step": 1})


def test_unknown_column_and_missing_step(path):
    with pytest.raises(DataError, match=r"cannot log \['val_acc'\]"):
        MetricsCsv(path).append({"step": 1, "val_acc": 0.5})
    with pytest.raises(DataError, match="has no 'step', only \\['lr'\\]"):
        MetricsCsv(path).append({"lr": 0.5})
    assert not os.path.exists(path)  # noqa: PTH110 - the plainest possible look


class TestRead:
    def test_leaves_out_a_line_that_is_being_written(self, path):
        _run_of(path, [1, 2])
        with path.open("a") as file:
            file.write("3,1")
        np.testing.assert_array_equal(read_metrics(path)["step"], [1, 2])

    def test_header_only(self, path):
        path.write_text(HEADER)
        table = read_metrics(path)
        assert table["step"].shape == (0,)
        assert table["step"].dtype == np.int64

    def test_nan_and_inf(self, path):
        MetricsCsv(path).append({"step": 1, "train_loss": math.inf, "val_loss": math.nan})
        table = read_metrics(path)
        assert table["train_loss"][0] == math.inf
        assert np.isnan(table["val_loss"][0])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "no column 'step'"),
            ("loss,lr\n1,2\n", "no column 'step'"),
            (HEADER + "1,2\n", "line 2: 2 cells, expected 10"),
            (HEADER + "1,,,,,,,,,\n2,,,,x,,,,,\n", "line 3: could not convert string to float: 'x'"),
            (HEADER + ",,,,,,,,,1\n", "line 2: the cell 'step' is empty"),
        ],
    )
    def test_damage(self, path, content, message):
        path.write_text(content)
        with pytest.raises(FormatError, match=message):
            read_metrics(path)

    def test_missing(self, path):
        with pytest.raises(MissingFileError, match="no such file"):
            read_metrics(path)
