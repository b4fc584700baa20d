# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from bionemo.core.config import parse
from bionemo.scdl.convert_config import ConvertConfig
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.scdl.scripts.convert_h5ad_to_scdl import main


FLAGS = {
    "data_path": None,
    "save_path": None,
    "num_workers": 4,
    "use_mp": False,
    "data_dtype": None,
    "paginated_load_cutoff": 10_000,
    "load_block_row_size": 1_000_000,
    "use_x_not_raw": False,
    "layer": None,
    "feature_type": "Gene Expression",
    "genes": "union",
    "gene_key": None,
    "sample_column": None,
    "on_loss": "error",
    "max_memory_mb": 1_000,
    "resume": False,
}


@pytest.fixture
def folder(write_h5ad, tmp_path):
    for name, genes, values in (("a", "AB", [1, 300]), ("b", "BC", [3, 4])):
        write_h5ad(
            sp.csr_matrix(np.array([values], np.float32)),
            f"in/{name}.h5ad",
            var=pd.DataFrame(index=list(genes)),
            layers={"half": sp.csr_matrix(np.array([values], np.float32) / 2)},
        )
    return tmp_path / "in"


def run(folder, out, *flags):
    return main(["--data-path", str(folder), "--save-path", str(out), *flags])


def dense_of(path):
    dataset = SingleCellMemMapDataset(path)
    return [dataset.get_row_padded(row)[0].tolist() for row in range(len(dataset))]


def test_the_flags_are_the_documented_ones():
    defaults = {
        field.name: None if field.default is dataclasses.MISSING else field.default
        for field in dataclasses.fields(ConvertConfig)
    }
    assert defaults == FLAGS
    config = parse(ConvertConfig, ["--data-path", "a", "--save-path", "b", "--use-X-not-raw", "--use-mp"])
    assert config.use_x_not_raw
    assert config.use_mp


def test_one_gene_table_by_default_and_the_path_on_stdout(folder, tmp_path, capsys):
    assert run(folder, tmp_path / "out") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"
    assert dense_of(tmp_path / "out") == [[1, 300, 0], [0, 3, 4]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize(
    ("flags", "rows"),
    [
        (["--genes", "intersection"], [[300], [3]]),
        (["--layer", "half"], [[0.5, 150, 0], [0, 1.5, 2]]),
        (["--use-X-not-raw", "--data-dtype", "uint16"], [[1, 300, 0], [0, 3, 4]]),
        (["--use-mp", "--num-workers", "2"], [[1, 300, 0], [0, 3, 4]]),
        (
            ["--max-memory-mb", "1", "--load-block-row-size", "1", "--paginated-load-cutoff", "0"],
            [[1, 300, 0], [0, 3, 4]],
        ),
        (["--gene-key", "var_feature_id"], [[1, 300, 0], [0, 3, 4]]),
    ],
)
def test_flags(folder, tmp_path, flags, rows):
    assert run(folder, tmp_path / "out", *flags) == 0
    assert dense_of(tmp_path / "out") == rows
    expected = "uint16" if "uint16" in flags else "float32"
    assert SingleCellMemMapDataset(tmp_path / "out").dtypes["data.npy"] == expected


def test_ragged_tables_on_request(folder, tmp_path):
    with pytest.warns(UserWarning, match="2 different gene tables"):
        assert run(folder, tmp_path / "out", "--genes", "ragged") == 0
    assert dense_of(tmp_path / "out") == [[1, 300], [3, 4]]


def test_lost_values_fail_unless_allowed(folder, tmp_path, capsys):
    assert run(folder, tmp_path / "out", "--data-dtype", "uint8") == 2
    message = capsys.readouterr().err
    assert "1 values change" in message
    assert "a.h5ad" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    with pytest.warns(UserWarning, match="Downcasted data values"):
        assert run(folder, tmp_path / "out", "--data-dtype", "uint8", "--on-loss", "warn") == 0


def test_a_failed_run_is_resumed(folder, tmp_path):
    (folder / "c.h5ad").write_text("nonsense")
    assert run(folder, tmp_path / "out", "--resume", "--num-workers", "1") == 2
    parts = tmp_path / "out.parts"
    assert {"a", "b"} <= {path.name for path in parts.iterdir()}
    stamp = (parts / "a" / "data.npy").stat().st_ino
    (folder / "c.h5ad").unlink()
    (parts / "b" / "source.json").unlink()
    assert (parts / "a" / "data.npy").stat().st_ino == stamp
    assert run(folder, tmp_path / "out", "--resume") == 0
    assert not parts.exists()
    assert dense_of(tmp_path / "out") == [[1, 300, 0], [0, 3, 4]]


def test_what_a_killed_run_left_is_not_in_the_way(folder, tmp_path):
    (tmp_path / "out.parts" / "a").mkdir(parents=True)
    (tmp_path / "out.parts" / "version.json").write_text('"x"')
    assert run(folder, tmp_path / "out") == 0
    (tmp_path / "two.parts").mkdir()
    (tmp_path / "two.parts" / "mine").write_text("keep")
    assert run(folder, tmp_path / "two") == 2
    assert (tmp_path / "two.parts" / "mine").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num-workers", "0"], "--num-workers is 0"),
        (["--max-memory-mb", "0"], "--max-memory-mb is 0"),
        (["--layer", "half", "--use-X-not-raw"], "exclude each other"),
        (["--data-dtype", "int8"], "int8"),
        (["--layer", "nope"], "no layer 'nope', found ['half']"),
    ],
)
def test_bad_settings_are_one_line(folder, tmp_path, capsys, flags, message):
    assert run(folder, tmp_path / "out", *flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_bad_paths(folder, tmp_path, capsys):
    assert run(folder, folder) == 2
    assert "exists already" in capsys.readouterr().err
    assert run(tmp_path / "nope", tmp_path / "out") == 2
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", tmp_path / "out") == 2
    assert "There a no h5ad files in" in capsys.readouterr().err


def test_help_is_quick_and_complete():
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bionemo.scdl.scripts.convert_h5ad_to_scdl", "--help"], capture_output=True, text=True
    )
    assert time.perf_counter() - start < 5  # under a second on a quiet machine
    assert done.returncode == 0
    for name in FLAGS:
        assert "--" + name.replace("_", "-").replace("x-not", "X-not") in done.stdout
