# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at any moment leaves the old archive or the new one, and doing it again works.

Five kills per writer (``BIONEMO_TEST_KILLS`` sets another number), and fifty in the nightly run.
"""

import gc
import shutil
import warnings
import zlib
from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

from bionemo.core.files import is_leftover
from bionemo.scdl.io.single_cell_collection import SingleCellCollection
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.testing.kills import kill_runner


PRELOAD = ("anndata", "anndata.io", "h5py", "pandas", "pyarrow.parquet", "scipy.sparse", "torch")
PRELOAD += ("bionemo.scdl.io.single_cell_collection", "bionemo.scdl.io.conversion", "bionemo.scdl.io.merge")


def convert(h5ad, archive):
    SingleCellMemMapDataset(archive, h5ad_path=h5ad)


def append(archive, other):
    SingleCellMemMapDataset(archive).concat(SingleCellMemMapDataset(other))


def cast(archive):
    SingleCellMemMapDataset(archive).cast_data_to_dtype("float64")


def save(archive):
    SingleCellMemMapDataset(archive).save()


def flatten(h5ad_folder, parts, archive):
    shutil.rmtree(parts, ignore_errors=True)
    collection = SingleCellCollection(parts)
    collection.load_h5ad_multi(h5ad_folder, max_workers=1)
    collection.flatten(archive, destroy_on_copy=True)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A folder with two files of 2,000 cells, and an archive of each."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "in").mkdir()
    for seed, name in enumerate("ab"):
        matrix = sp.random(2_000, 500, 0.1, "csr", np.float32, random_state=np.random.default_rng(seed))
        adata = anndata.AnnData(matrix)
        adata.raw = adata.copy()
        adata.write_h5ad(folder / "in" / f"{name}.h5ad")
        convert(folder / "in" / f"{name}.h5ad", folder / name)
    return folder


def state_of(archive):
    """What an archive holds; None where there is none. Fails if it is neither complete nor absent."""
    if not archive.exists():
        return None
    dataset = SingleCellMemMapDataset(archive)
    assert dataset.verify() == []
    arrays = (dataset.data, dataset.col_index, dataset.row_index)
    return len(dataset), dataset.dtypes["data.npy"], tuple(zlib.crc32(np.ascontiguousarray(a)) for a in arrays)


WRITERS = pytest.mark.parametrize(
    ("write", "with_old"),
    [(convert, False), (append, True), (cast, True), (save, True), (flatten, False)],
    ids=["convert", "concat", "cast", "save", "flatten"],
)


@WRITERS
def test_killed_writers(sources, tmp_path, write, with_old):
    check_killed_writer(sources, tmp_path, write, with_old=with_old, kills=None)


@pytest.mark.nightly
@WRITERS
def test_writers_killed_fifty_times(sources, tmp_path, write, with_old):
    check_killed_writer(sources, tmp_path, write, with_old=with_old, kills=50)


def check_killed_writer(sources, tmp_path, write, *, with_old, kills):
    archive: Path = tmp_path / "work" / "archive"
    arguments = {
        convert: (sources / "in" / "a.h5ad", archive),
        append: (archive, sources / "b"),
        cast: (archive,),
        save: (archive,),
        flatten: (sources / "in", tmp_path / "work" / "parts", archive),
    }[write]

    def prepare():
        shutil.rmtree(archive, ignore_errors=True)  # but not what killed writers left beside it
        archive.parent.mkdir(exist_ok=True)
        if with_old:
            shutil.copytree(sources / "a", archive)

    prepare()
    old = state_of(archive)
    write(*arguments)
    new = state_of(archive)
    seen = set()

    def check(kill):
        state = state_of(archive)
        seen.add(state == new)
        assert state in (old, new)
        if kill.landed:
            if state == new and not with_old:
                return
            write(*arguments)  # again, in this process, among whatever the killed one left
            assert state_of(archive) is not None

    kill_runner(write, *arguments, check=check, prepare=prepare, kills=kills, preload=PRELOAD)
    assert True in seen
    prepare()
    write(*arguments)
    assert state_of(archive) == new
    if write is convert:  # conversions clear what killed ones left
        assert not [path for path in archive.parent.iterdir() if is_leftover(path)]


def test_a_full_disk_leaves_the_old_archive(sources, tmp_path, monkeypatch):
    from bionemo.scdl.io import archive_writer

    shutil.copytree(sources / "a", tmp_path / "a")
    old = state_of(tmp_path / "a")
    dataset = SingleCellMemMapDataset(tmp_path / "a")

    def no_space(self, block):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive_writer.RawArrayWriter, "_write", no_space)
    for change in (lambda: dataset.cast_data_to_dtype("float64"), lambda: dataset.concat(dataset)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(OSError, match="a: cannot be written: No space left on device"):
                change()
            gc.collect()  # says which files were left open
        assert [str(warning.message) for warning in caught if warning.category is ResourceWarning] == []
        assert state_of(tmp_path / "a") == old
        assert [path.name for path in tmp_path.iterdir()] == ["a"]
