# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""No hostile file of an archive crashes a reader, runs code, or takes more memory than the limit."""

import shutil

from bionemo.testing.hostile_files import hostile_arrays, hostile_json, hostile_pickles, load_each


LOAD = """
import os, pathlib, shutil
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
def load(path):
    name, _, data = path.read_bytes().partition(b"\\n")
    folder = path.with_name(path.name + ".archive")
    shutil.copytree("archive", folder)
    (folder / name.decode()).write_bytes(data)
    if name.endswith(b"labels.npy"):
        (folder / "var_features" / "labels.json").unlink()
    if name == b"dtypes.json":
        (folder / "header.sch").unlink()
    dataset = SingleCellMemMapDataset.open(folder)
    dataset.get_row(0, return_var_features=True, return_obs_features=True)
    dataset.verify()
    return dataset[:]

intact = pathlib.Path(f"intact-{os.getpid()}")
intact.write_bytes(b"unrelated.txt\\nnothing")
load(intact)  # what pandas and pyarrow take once, when they are imported, is no file's doing
"""


def test_every_file_of_an_archive(make_archive, tmp_path):
    make_archive()
    work = tmp_path / "work"
    work.mkdir()
    shutil.copytree(tmp_path / "archive", work / "archive")
    kinds = {
        "var_features/labels.npy": hostile_arrays(),
        "var_features/cumulative_sum_index.npy": hostile_arrays(),
        "var_features/version.npy": {"object": hostile_arrays()["pickle: command"]},
        "var_features/labels.json": hostile_json(),
        "dtypes.json": hostile_json() | {"object": b'{"data.npy": "object"}', "list": b'{"data.npy": ["u2"]}'},
        "metadata.json": hostile_json(),
        "version.json": hostile_json(),
        "checksums.json": hostile_json(),
        "source.json": hostile_json(),
        "header.sch": hostile_pickles(),
        "var_features/dataframe_0.parquet": hostile_pickles(),
        "obs_features/frame_0.arrow": hostile_pickles(),
    }
    files = {
        f"{file}: {name}": file.encode() + b"\n" + data for file, some in kinds.items() for name, data in some.items()
    }
    outcomes = load_each(LOAD, files, work)
    assert {name: outcome for name, outcome in outcomes.items() if outcome.error and not outcome.is_ours} == {}
    assert max(outcome.added_mb for outcome in outcomes.values()) < 300
    refused = {name for name, outcome in outcomes.items() if outcome.error}
    assert "var_features/cumulative_sum_index.npy: shape of 2**40" in refused
    assert {name for name in files if name.startswith("header.sch")} <= refused
