# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What release 0.1.3 got wrong, by the numbers of the contract's list; each test fails on its behaviour.

Defects that have tests of their own elsewhere: D8, D9 (casting, conversion), D12, D16, D33 (layout), D14 (atomicity),
D15 (conversion), D27 (collate), D30 (collection), D34 (labels).
"""

import json
import os
import pickle
import shutil
import stat
import subprocess
import sys
import tempfile
import timeit
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from bionemo.scdl.io.single_cell_collection import SingleCellCollection
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.scdl.util.torch_dataloader_utils import collate_sparse_matrix_batch


def dense_of(dataset):
    return np.array([dataset.get_row_padded(row)[0] for row in range(len(dataset))])


def test_d1_square_csc_is_not_transposed(make_archive):
    matrix = np.array([[0, 1], [2, 0]], np.float32) + np.array([[0, 0], [0, 5]], np.float32)
    np.testing.assert_array_equal(dense_of(make_archive(sp.csc_matrix(matrix))), matrix)


def test_d2_a_cast_survives_reopening(make_archive, counts):
    dataset = make_archive()
    SingleCellMemMapDataset(dataset.data_path).cast_data_to_dtype("float64")
    reopened = SingleCellMemMapDataset(dataset.data_path)
    assert reopened.dtypes["data.npy"] == "float64"
    np.testing.assert_array_equal(dense_of(reopened), counts)


def test_d3_a_wider_dtype_by_concat_survives_reopening(make_archive, counts):
    make_archive(name="narrow")
    wide = make_archive(name="wide", options={"data_dtype": "float64"})
    narrow = SingleCellMemMapDataset(wide.data_path.with_name("narrow"))
    narrow.concat(SingleCellMemMapDataset(wide.data_path))
    np.testing.assert_array_equal(dense_of(SingleCellMemMapDataset(narrow.data_path)), np.tile(counts, (2, 1)))


def test_d4_wider_row_pointers_and_the_row_count_survive_reopening(make_archive):
    matrix = sp.csr_matrix(np.ones((20, 10), np.float32))
    dataset = make_archive(matrix)
    assert dataset.dtypes["row_ptr.npy"] == "uint8"
    dataset.concat(dataset)
    reopened = SingleCellMemMapDataset(dataset.data_path)
    assert (len(reopened), reopened.metadata, reopened.dtypes["row_ptr.npy"]) == (40, {"num_rows": 40}, "uint16")
    assert dense_of(reopened).sum() == 400


def test_d5_raw_values_have_the_names_of_raw_genes(write_h5ad, counts, tmp_path):
    import anndata

    full = anndata.AnnData(sp.csr_matrix(counts), var=pd.DataFrame(index=list("abcde")))
    some = full[:, ["d", "b"]].copy()
    some.raw = full
    some.write_h5ad(tmp_path / "x.h5ad")
    dataset = SingleCellMemMapDataset(tmp_path / "x", h5ad_path=tmp_path / "x.h5ad")
    assert dataset.get_row(0, True)[1][0].tolist() == list("abcde")
    np.testing.assert_array_equal(dense_of(dataset), counts)


def test_d6_many_blocks_keep_their_genes_after_flattening(write_h5ad, tmp_path):
    for number in range(11):
        genes = pd.DataFrame(index=[f"file{number}gene{i}" for i in range(2)])
        write_h5ad(sp.csr_matrix(np.ones((5, 2), np.float32)), f"in/f{number:02d}.h5ad", var=genes)
    collection = SingleCellCollection(tmp_path / "out")
    collection.load_h5ad_multi(tmp_path / "in", max_workers=1)
    with pytest.warns(UserWarning, match="11 different gene tables"):
        collection.flatten(tmp_path / "flat")
    flat = SingleCellMemMapDataset(tmp_path / "flat")
    for row in range(55):
        assert flat.get_row(row, True)[1][0].tolist() == [f"file{row // 5}gene0", f"file{row // 5}gene1"]


def test_d7_other_gene_orders_are_not_mixed_silently(make_archive):
    first = make_archive(sp.csr_matrix(np.array([[1, 2]], np.float32)), "a", var=pd.DataFrame(index=["g", "h"]))
    second = make_archive(sp.csr_matrix(np.array([[2, 1]], np.float32)), "b", var=pd.DataFrame(index=["h", "g"]))
    with pytest.warns(UserWarning, match="one batch may mix genes in a column"):
        first.concat(second)
    assert first.shape() == (2, [2, 2])


def test_d10_negative_row_numbers(make_archive):
    dataset = make_archive()
    assert dataset[-1].tolist() == dataset[3].tolist()
    assert dataset[-2].tolist() == dataset[2].tolist()


@pytest.mark.parametrize("name", ["data.npy", "col_ptr.npy"])
def test_d11_truncated_files(make_archive, name):
    dataset = make_archive()
    path = dataset.data_path / name
    size = path.stat().st_size
    os.truncate(path, size - 2)
    with pytest.raises(ValueError, match=rf"{name}: .*\({size} bytes\), the file has {size - 2} bytes"):
        SingleCellMemMapDataset(dataset.data_path)


def test_d13_a_missing_index_is_refused(make_archive):
    dataset = make_archive()
    shutil.rmtree(dataset.data_path / "obs_features")
    with pytest.raises(FileNotFoundError, match="obs_features"):
        SingleCellMemMapDataset(dataset.data_path)


def test_d17_a_read_only_archive_can_be_read(make_archive):
    dataset = make_archive()
    code = (
        "import os, sys\n"
        "import pyarrow.parquet, bionemo.scdl.io.editing\n"
        "from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset as D\n"
        "if os.getuid() == 0: os.setuid(65534)\n"  # root may write anywhere; others may not even import from its home
        "print(len(D(sys.argv[1])), D(sys.argv[1], mode='r')[2].tolist())\n"
        "try: D(sys.argv[1]).save()\n"
        "except OSError as error: print(error)"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        archive = Path(folder) / "archive"
        shutil.copytree(dataset.data_path, archive)
        paths = [Path(folder), archive, *archive.rglob("*")]
        for path in paths:
            path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH | (0o111 if path.is_dir() else 0))
        done = subprocess.run([sys.executable, "-c", code, str(archive)], capture_output=True, text=True, check=True)
        for path in paths:
            path.chmod(stat.S_IRWXU)
    assert done.stdout.splitlines()[0] == "4 [[1.0, 300.0], [0.0, 4.0]]"
    assert "archive: cannot be written: Permission denied" in done.stdout


def test_d18_rows_do_not_reach_the_archive(make_archive):
    values = make_archive().get_row(0)[0][0]
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 1


@pytest.mark.parametrize(
    "matrix", [np.ones((2, 2)), sp.csr_matrix((2, 2)), sp.csr_matrix((0, 2)), sp.csr_array((2, 2))]
)
def test_d19_dense_zero_and_empty_matrices(make_archive, matrix):
    dataset = make_archive(matrix)
    assert dataset.number_nonzero_values() == (4 if isinstance(matrix, np.ndarray) else 0)
    assert len(dataset) == matrix.shape[0]


def test_d20_d21_unsorted_and_duplicate_columns(tmp_path):
    dataset = SingleCellMemMapDataset(tmp_path / "a", num_rows=1, num_elements=4)
    dataset.data[:], dataset.col_index[:], dataset.row_index[:] = [5, 1, 6, 2], [7, 3, 3, 0], [0, 4]
    dataset.var_features().append_features(1, {"gene": np.arange(8)})
    dataset.save()
    assert [dataset.get_row_column(0, column) for column in (7, 3, 0, 1)] == [5, 1, 2, 0.0]
    assert dataset.get_row_padded(0)[0].tolist() == [2, 0, 0, 6, 0, 0, 0, 5]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_d22_unsigned_batches_become_dense(make_archive, counts, dtype):
    dataset = make_archive(sp.csr_matrix(np.minimum(counts, 200)), options={"data_dtype": dtype})
    dense = collate_sparse_matrix_batch([dataset[row] for row in range(4)]).to_dense()
    np.testing.assert_array_equal(dense, np.minimum(counts, 200))


def test_d23_batches_of_one_width(make_archive):
    dataset = make_archive()
    widths = [collate_sparse_matrix_batch(dataset[[row]], num_columns=5).shape for row in range(4)]
    assert widths == [(1, 5)] * 4


def test_d24_names_and_categories_survive(make_archive):
    obs = pd.DataFrame({"kind": pd.Categorical(list("pqpq"), categories=list("qprs"))}, index=list("ABCD"))
    reopened = SingleCellMemMapDataset(make_archive(obs=obs).data_path)
    pd.testing.assert_frame_equal(reopened.obs_frame(), obs, check_index_type=False)


def test_d25_missing_values_do_not_split_blocks(make_archive):
    var = pd.DataFrame({"mean": [1.0, np.nan, 2, 3, 4]}, index=list("abcde"))
    first = make_archive(name="a", var=var)
    first.concat(make_archive(name="b", var=var))
    assert first.shape() == (8, [5])


def test_d26_neighbors_are_appended(make_archive):
    graph = sp.csr_matrix(np.eye(4, k=1))
    first = make_archive(obsp={"next_cell_ids": graph}, options={"load_neighbors": True})
    first.concat(first)
    assert first.get_neighbor_indices_for_cell(4).tolist() == [5]
    assert first.header.get_array("NEIGHBOR_VALUES").length == 6


def test_d28_files_of_one_name(write_h5ad, counts, tmp_path):
    for folder in "xy":
        write_h5ad(sp.csr_matrix(counts), f"in/{folder}/cells.h5ad")
    collection = SingleCellCollection(tmp_path / "out")
    collection.load_h5ad_multi(tmp_path / "in")
    assert len(collection.fname_to_mmap) == 2


@pytest.mark.parametrize("num_files", [1, 2])
def test_d29_flattening_leaves_the_collection_alone(write_h5ad, counts, tmp_path, num_files):
    for number in range(num_files):
        write_h5ad(sp.csr_matrix(counts), f"in/{number}.h5ad")
    collection = SingleCellCollection(tmp_path / "out")
    collection.load_h5ad_multi(tmp_path / "in")
    collection.flatten(tmp_path / "flat")
    for path, dataset in collection.fname_to_mmap.items():
        assert dataset.data_path == path
        assert (len(dataset), len(SingleCellMemMapDataset(path))) == (4, 4)


def test_d31_pickles_are_small(make_archive):
    small, large = make_archive(name="s"), make_archive(sp.csr_matrix(np.ones((500, 500), np.float32)), name="l")
    assert len(pickle.dumps(large)) <= len(pickle.dumps(small)) + 10


def test_d32_nullable_columns_keep_their_type(make_archive):
    obs = pd.DataFrame({"n": pd.array([1, None, 2**60 + 1, 4], dtype="Int64")}, index=list("abcd"))
    dataset = SingleCellMemMapDataset(make_archive(obs=obs).data_path)
    assert [dataset.obs_features().lookup(row)[0][0] for row in range(4)] == [1, None, 2**60 + 1, 4]
    assert dataset.obs_frame()["n"].dtype == "Int64"


def test_d35_a_conversion_reads_blocks(make_archive, monkeypatch):
    from bionemo.scdl.io import conversion

    sizes = []
    original = conversion.cast_values
    monkeypatch.setattr(conversion, "_MAX_BLOCK_ELEMENTS", 100)
    monkeypatch.setattr(conversion, "_MIN_BLOCK_ELEMENTS", 100)
    monkeypatch.setattr(conversion, "cast_values", lambda v, *a: sizes.append(v.size) or original(v, *a))
    make_archive(sp.csr_matrix(np.ones((50, 10), np.float32)))
    assert sizes == [100] * 5


def test_d36_padded_rows_are_vectorised(make_archive):
    dataset = make_archive(sp.csr_matrix(np.ones((2, 20_000), np.float32)))
    # 20,000 stored values took the released loop about 10 ms.
    assert min(timeit.repeat(lambda: dataset.get_row_padded(0), number=1, repeat=5)) < 0.003


def test_d37_the_schema_version_decides_not_the_package_s(make_archive):
    first, second = make_archive(name="a"), make_archive(name="b")
    (second.data_path / "version.json").write_text('"0.0.1"')
    first.concat(SingleCellMemMapDataset(second.data_path))
    assert len(first) == 8
    header = bytearray((second.data_path / "header.sch").read_bytes())
    header[4] = 9  # the major schema version
    (second.data_path / "header.sch").write_bytes(header)
    with pytest.raises(ValueError, match=r"schema version 9\.1\.0"):
        first.concat(SingleCellMemMapDataset(second.data_path))


def released_python():
    """The interpreter with release 0.1.3; skips where there is none."""
    python = os.environ.get("BIONEMO_SCDL_RELEASED_PYTHON")
    if not python:
        pytest.skip("BIONEMO_SCDL_RELEASED_PYTHON names no interpreter with bionemo-scdl 0.1.3")
    return python


def test_release_0_1_3_reads_what_we_write(make_archive, counts):
    python = released_python()
    dataset = make_archive(obs=pd.DataFrame({"k": pd.Categorical(["x", None, "y", "x"])}, index=list("abcd")))
    dataset.concat(dataset)
    code = (
        "import sys, json\n"
        "from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset as D\n"
        "d = D(sys.argv[1])\n"
        "print(json.dumps([d.version(), len(d), d.shape(), [d.get_row_padded(i)[0].tolist() for i in range(len(d))],"
        " [d.get_row(i, False, None, True)[2] for i in range(4)]]))"
    )
    done = subprocess.run([python, "-c", code, str(dataset.data_path)], capture_output=True, text=True, check=True)
    version, num_rows, shape, rows, obs = json.loads(done.stdout.splitlines()[-1])
    assert version.startswith("0.1.")
    assert (num_rows, shape) == (8, [8, [5]])
    np.testing.assert_array_equal(rows, np.tile(counts, (2, 1)))
    assert obs == [["x"], [None], ["y"], ["x"]]
    assert sys.executable != python


@pytest.mark.parametrize("concatenated", [False, True])
def test_we_read_what_release_0_1_3_writes(write_h5ad, counts, tmp_path, concatenated):
    code = (
        "import sys\n"
        "from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset as D\n"
        "d = D(sys.argv[2], h5ad_path=sys.argv[1], data_dtype='uint16')\n"
        "if sys.argv[3] == 'True': d.concat(D(sys.argv[2]))"
    )
    path = write_h5ad(sp.csr_matrix(counts), obs=pd.DataFrame({"day": [1, 2, 3, 4]}, index=list("abcd")))
    arguments = [str(path), str(tmp_path / "old"), str(concatenated)]
    subprocess.run([released_python(), "-c", code, *arguments], capture_output=True, text=True, check=True)
    dataset = SingleCellMemMapDataset(tmp_path / "old")
    np.testing.assert_array_equal(dense_of(dataset), np.tile(counts, (1 + concatenated, 1)))
    assert dataset.get_row(3, return_obs_features=True)[2] == [4]
