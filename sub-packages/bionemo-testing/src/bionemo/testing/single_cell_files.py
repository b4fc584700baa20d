# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Files with counts as other programs and older versions of anndata write them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bionemo.core.optional_deps import require


def write_anndata_06(path: Path, parts: Mapping[str, Any], *, raw: Mapping[str, Any] | None = None) -> Path:
    """Write a file as anndata 0.6.22 did: tables of records, categories in ``uns`` and ``raw.cat``."""
    with require("h5py", extra="h5py").File(path, "w") as file:
        _write_matrix(file, "X", parts["X"])
        file["obs"] = parts["obs"]
        file["var"] = parts["var"]
        for name, categories in parts.get("categories", {}).items():
            file[f"uns/{name}_categories"] = np.array(categories, dtype="S20")
        if raw is not None:
            _write_matrix(file, "raw.X", raw["X"])
            file["raw.var"] = raw["var"]
            for name, categories in raw.get("categories", {}).items():
                file[f"raw.cat/{name}_categories"] = np.array(categories, dtype="S20")
    return path


def write_tenx(path: Path, counts: np.ndarray, features: Mapping[str, list[str]] | None, genes: list[str]) -> Path:
    """Write a matrix as Cell Ranger does: version 3 with ``features``, version 2 without."""
    by_genes = require("scipy.sparse", extra="scipy").csc_matrix(counts.T)
    with require("h5py", extra="h5py").File(path, "w") as file:
        group = file.create_group("matrix" if features else "GRCh38")
        group["barcodes"] = np.array([f"AAC{i}-1" for i in range(len(counts))], dtype="S")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(by_genes, name).astype(np.int64 if name != "data" else np.int32)
        group["shape"] = np.array(by_genes.shape, dtype=np.int32)
        ids = [f"ENSG{i}" for i in range(len(genes))]
        if features:
            named = {"id": ids, "name": genes, **features}
            for name, values in named.items():
                group[f"features/{name}"] = np.array(values, dtype="S")
        else:
            group["genes"], group["gene_names"] = np.array(ids, dtype="S"), np.array(genes, dtype="S")
    return path


def _write_matrix(file: Any, place: str, matrix: Any) -> None:
    if isinstance(matrix, np.ndarray):
        file[place] = matrix
        return
    group = file.create_group(place)
    group.attrs["h5sparse_format"] = np.bytes_(matrix.format)
    group.attrs["h5sparse_shape"] = matrix.shape
    for name in ("data", "indices", "indptr"):
        group[name] = getattr(matrix, name)
