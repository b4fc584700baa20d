# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of Cell Ranger: ``matrix.mtx``, ``barcodes.tsv`` and ``features.tsv`` or ``genes.tsv``, plain or ``.gz``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bionemo.core.errors import FormatError, MissingFileError
from bionemo.scdl.counts.matrices import Matrix
from bionemo.scdl.counts.open_matrix import matrix_in_memory


if TYPE_CHECKING:
    import pandas as pd


def find_mtx(folder: Path) -> list[Path]:
    """Return the matrices of a folder; files of GEO have the sample's name in front."""
    return sorted(path for path in folder.iterdir() if path.name.endswith(("matrix.mtx", "matrix.mtx.gz")))


class MtxFolder:
    """A matrix of a folder, in memory.

    ``var`` is as scanpy names it: gene symbols as index, ``gene_ids`` and ``feature_types``.

    Args:
        path: The matrix; the tables of barcodes and features stand beside it with the same beginning.

    Raises:
        FileNotFoundError: A table is missing.
        FormatError: A file is damaged, or they do not fit together.
    """

    def __init__(self, path: Path) -> None:
        self.name, self.matrices = str(path), ["X"]
        self._barcodes = _read_table(_beside(path, ("barcodes.tsv",)))
        self._features = _read_table(_beside(path, ("features.tsv", "genes.tsv")))
        self._path = path
        self._matrix: Matrix | None = None

    def matrix(self, key: str, scratch_dir: Path | None) -> Matrix:
        """Read the matrix; genes by cells in the file."""
        from scipy.io import mmread
        from scipy.sparse import csr_matrix

        if self._matrix is not None:
            return self._matrix
        try:
            matrix = csr_matrix(mmread(self._path).T)  # entries given twice are summed
        except Exception as error:  # SciPy raises ValueError, IndexError, OSError, EOFError, OverflowError
            raise FormatError(f"{self._path}: cannot be read as a Matrix Market file ({error}).") from error
        self._matrix = matrix_in_memory(matrix, self.name)
        return self._matrix

    def obs(self) -> "pd.DataFrame":
        """Return the barcodes."""
        import pandas as pd

        return pd.DataFrame(index=self._barcodes[0].to_numpy(dtype=object))

    def var(self, key: str) -> "pd.DataFrame":
        """Return the features."""
        import pandas as pd

        table = self._features
        symbols = table[1] if table.shape[1] > 1 else table[0]
        columns = {"gene_ids": table[0].to_numpy(dtype=object)}
        if table.shape[1] > 2:
            columns["feature_types"] = table[2].to_numpy(dtype=object)
        return pd.DataFrame(columns, index=symbols.to_numpy(dtype=object))

    def graph(self, key: str) -> Any:
        """Return None: there are no graphs."""
        return None

    def close(self) -> None:
        """Do nothing: no file stays open."""


def _beside(path: Path, names: tuple[str, ...]) -> Path:
    beginning = path.name.removesuffix(".gz").removesuffix("matrix.mtx")
    candidates = [path.with_name(beginning + name + end) for name in names for end in (".gz", "")]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise MissingFileError(f"{path}: no {beginning}{' or '.join(names)} (.gz) beside it.")
    return found


def _read_table(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        table = pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=3)
    except (ValueError, OSError, EOFError) as error:
        raise FormatError(f"{path}: cannot be read as a table with tabs ({error}).") from error
    return table.astype(np.dtype(object))
