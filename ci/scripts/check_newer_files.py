#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Read h5ad files and zarr stores that the newest pandas and anndata have written; needs the package index.

The pinned environment holds older releases, as the packages' own requirements do on some systems, but files come from
anywhere. They are written in a new environment and read, converted and compared in the one that runs this script.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse

from bionemo.scdl.convert import convert
from bionemo.scdl.convert_config import ConvertConfig
from bionemo.scdl.counts.source import open_counts
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


NEWER = ("pandas>=3", "anndata>=0.12", "zarr")
COUNTS = np.arange(20).reshape(4, 5) % 4
MISSING = [False, True, False, False]

# Run in the new environment: every form of matrix, and columns with missing values of every type.
WRITE = r"""
import sys
from importlib.metadata import version
from pathlib import Path
import anndata, numpy, pandas, scipy.sparse
folder, counts = Path(sys.argv[1]), numpy.arange(20).reshape(4, 5) % 4
anndata.settings.allow_write_nullable_strings = True
obs = {
    "text": ["T", None, "B", "B"],
    "category": pandas.Categorical(["x", None, "y", "x"]),
    "whole": pandas.array([1, None, 3, 4], dtype="Int64"),
    "switch": pandas.array([True, None, False, True], dtype="boolean"),
    "number": [0.5, None, 1.0, 2.0],
}
var = pandas.DataFrame({"gene_ids": ["E1", None, "E3", "E4", "E5"]}, index=list("vwxyz"))
matrices = {
    "csr": scipy.sparse.csr_matrix(counts.astype("float32")),
    "csc": scipy.sparse.csc_matrix(counts),
    "array": scipy.sparse.csr_array(counts),
    "dense": counts.astype("int32"),
}
for name, matrix in matrices.items():
    cells = pandas.DataFrame(obs, index=[f"{name}{row}" for row in range(4)])
    written = anndata.AnnData(matrix, obs=cells, var=var)
    written.write_h5ad(folder / f"{name}.h5ad")
    written.write_zarr(folder / f"{name}.zarr")
print("written by pandas", version("pandas"), "and anndata", version("anndata"))
"""


def write_files(scratch: Path) -> Path:
    """Write the files with the newest releases; returns their folder."""
    python, folder = scratch / "newer/bin/python", scratch / "files"
    folder.mkdir()
    subprocess.run([sys.executable, "-m", "venv", scratch / "newer"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *NEWER], check=True)
    subprocess.run([python, "-W", "ignore", "-c", WRITE, folder], check=True)
    return folder


def check_file(path: Path, scratch: Path) -> None:
    """Compare what a file is read as, and what it is converted to, with what was written."""
    with open_counts(path) as source:
        values, columns, row_ptr = source.read(np.arange(4))
        obs, var = source.obs, source.var
    convert(ConvertConfig(data_path=path, save_path=scratch / f"{path.name}.scdl"))
    archive = SingleCellMemMapDataset.open(scratch / f"{path.name}.scdl")
    batch = archive[:]
    for found in ((values, columns, row_ptr), (batch.values, batch.columns, batch.row_ptr)):
        np.testing.assert_array_equal(scipy.sparse.csr_array(found, shape=COUNTS.shape).toarray(), COUNTS)
    for cells, genes in ((obs, var), (archive.obs_frame(), archive.var_frame())):
        for name in ("text", "category", "whole", "switch", "number"):
            assert cells[name].isna().tolist() == MISSING, f"{path.name}: {name}: {cells[name].tolist()}"
        assert [cells[name].iloc[3] for name in ("text", "category", "whole", "number")] == ["B", "x", 4, 2.0]
        assert genes["gene_ids"].isna().tolist() == [*MISSING, False]
        assert genes.index.tolist() == list("vwxyz")


def main() -> int:
    """Write, read, and print how many files were read."""
    with tempfile.TemporaryDirectory(prefix="newer-files-") as name:
        scratch = Path(name)
        paths = sorted(write_files(scratch).iterdir())
        for path in paths:
            check_file(path, scratch)
    sys.stdout.write(f"{len(paths)} files and stores are read as they were written\n")
    return 0 if len(paths) == 8 else 1


if __name__ == "__main__":
    sys.exit(main())
