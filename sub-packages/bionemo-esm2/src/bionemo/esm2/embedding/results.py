# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The folder that ``infer_esm2`` writes, and reading it by id.

``sequences.parquet`` (or the files of ``sequences/``, in the order of their names) has a line for each protein, in
input order: ``row`` int64, its place in the input from 0; ``id``; ``length`` int64, residues; ``pseudo_perplexity``
float64 if asked for; each embedding as a list of H float32. With several layers the names are ``mean_layer_6``.

``residues/shard-00000.safetensors``, ... hold what is written of each residue, without special tokens, the proteins of
a shard one after the other: ``hidden_states`` [R, H] and ``token_logits`` [R, 33] float32, ``input_ids`` [R] uint8.
Two more columns of the table are the index: ``shard``, and ``first_residue`` within it.

With ``--format zarr`` they are in ``residues.zarr`` instead, see `bionemo.esm2.embedding.zarr_store`.

Letters: P proteins, R residues of a shard, S residues of a protein, H hidden.
"""

import bisect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError, MissingFileError
from bionemo.core.partitioned_output import dictionary_columns
from bionemo.esm2.embedding.zarr_store import ZARR_NAME, ZarrResidues


if TYPE_CHECKING:
    import pyarrow as pa

    from bionemo.esm2.embedding.embedder import ProteinOutputs
    from bionemo.esm2.embedding.protein_file import Protein


SEQUENCES_NAME, SEQUENCES_DIR = "sequences.parquet", "sequences"
RESIDUES_NAME, RESIDUES_DIR = "residues.safetensors", "residues"
_INDEX = ("row", "id", "length", "shard", "first_residue")


def shard_name(number: int) -> str:
    """Path of a shard of residues, below the results."""
    return f"{RESIDUES_DIR}/shard-{number:05d}.safetensors"


def write_outputs(outputs: "ProteinOutputs", proteins: Sequence["Protein"], shard: int, folder: Path) -> None:
    """Write the files of one partition.

    Args:
        outputs: What was computed of the proteins.
        proteins: P of them.
        shard: Number of the partition.
        folder: Where to write.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from safetensors.numpy import save_file

    columns: dict[str, pa.Array] = {
        "row": pa.array([protein.row for protein in proteins], pa.int64()),
        "id": pa.array([protein.id for protein in proteins], pa.string()),
        "length": pa.array(np.diff(outputs.offsets)),
    }
    if outputs.residues:
        columns["shard"] = pa.array(np.full(len(proteins), shard, dtype=np.int64))
        columns["first_residue"] = pa.array(outputs.offsets[:-1])
        save_file(outputs.residues, folder / RESIDUES_NAME)
    if outputs.pseudo_perplexity is not None:
        columns["pseudo_perplexity"] = pa.array(outputs.pseudo_perplexity)
    for name, values_PH in outputs.embeddings.items():
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values_PH.reshape(-1)), values_PH.shape[1])
    table = pa.table(columns)
    pq.write_table(table, folder / SEQUENCES_NAME, use_dictionary=dictionary_columns(table.schema))


class Embeddings:
    """Results of ``infer_esm2``; made by :func:`open_embeddings`.

    Attributes:
        names: What was written of each protein: ``mean``, ``hidden_states``, ...
        name: Which of them is looked up.
        rows: [P] int64, place of each protein in the input.
        ids: P ids, in input order; an id may occur more than once.
        lengths: [P] int64, residues of each protein.
    """

    def __init__(self, path: Path, name: str | None):
        import pyarrow.parquet as pq

        self._path = path
        self._files = [pq.ParquetFile(file) for file in _table_files(path)]
        columns = self._files[0].schema_arrow.names
        index = [column for column in _INDEX if column in columns]
        tables = [file.read(columns=index) for file in self._files]
        residue_names: list[str] = []
        if "shard" in columns:
            self._shards = _joined(tables, "shard")
            self._first_residues = _joined(tables, "first_residue")
            self._zarr = ZarrResidues(path / ZARR_NAME) if (path / ZARR_NAME).is_dir() else None
            if self._zarr is not None:
                residue_names = self._zarr.names
            else:
                with _open_shard(path, int(self._shards[0])) as shard:
                    residue_names = sorted(shard.keys())
        self._residue_names = frozenset(residue_names)
        self.names: tuple[str, ...] = (*(column for column in columns if column not in _INDEX), *residue_names)
        self.name = self._choose(name)
        self.rows = _joined(tables, "row")
        self.ids: list[str] = [name for table in tables for name in table.column("id").to_pylist()]
        self.lengths = _joined(tables, "length")
        self._places: dict[str, list[int]] = {}
        for place, protein_id in enumerate(self.ids):
            self._places.setdefault(protein_id, []).append(place)
        self._groups = [(file, group) for file in self._files for group in range(file.num_row_groups)]
        sizes = [file.metadata.row_group(group).num_rows for file, group in self._groups]
        self._group_ends = np.cumsum(sizes).tolist()
        self._cached: tuple[int, NDArray[Any]] | None = None

    def __len__(self) -> int:
        """Number of proteins, P."""
        return len(self.ids)

    def __contains__(self, protein_id: object) -> bool:
        """Whether there is a protein of this id."""
        return protein_id in self._places

    def __getitem__(self, protein_id: str) -> NDArray[Any]:
        """Return what was written of a protein: [H] of a whole protein, [S, H] of its residues.

        Raises:
            DataError: There is no such protein, or several have the id: look them up by `at`.
        """
        places = self._places.get(protein_id, [])
        if len(places) != 1:
            rows = ", ".join(str(self.rows[place]) for place in places[:5])
            found = f"{len(places)} proteins have this id (rows {rows}): use at(row)" if places else "no such id"
            raise DataError(f"{self._path}: {protein_id!r}: {found}.")
        return self._at_place(places[0])

    def at(self, row: int) -> NDArray[Any]:
        """Return what was written of the protein at a row of the input.

        Raises:
            DataError: There is no such row.
        """
        place = int(np.searchsorted(self.rows, row))
        if place == len(self.rows) or self.rows[place] != row:
            raise DataError(f"{self._path}: no protein at row {row}; it was left out, or the input has fewer.")
        return self._at_place(place)

    def matrix(self) -> NDArray[np.float32]:
        """Return all vectors of whole proteins, [P, H], in input order; of ``pseudo_perplexity`` [P].

        Raises:
            DataError: They are vectors of residues.
        """
        if self.name in self._residue_names:
            raise DataError(f"{self._path}: {self.name} is of residues: proteins differ in length. Use at(row).")
        return np.concatenate([_values(file.read(columns=[self.name]), self.name) for file in self._files])

    def _at_place(self, place: int) -> NDArray[Any]:
        if self.name in self._residue_names:
            if self._zarr is not None:
                return self._zarr.read(self.name, place)
            first, length = int(self._first_residues[place]), int(self.lengths[place])
            with _open_shard(self._path, int(self._shards[place])) as shard:
                found: NDArray[Any] = shard.get_slice(self.name)[first : first + length]
            return found
        number = bisect.bisect_right(self._group_ends, place)
        if self._cached is None or self._cached[0] != number:
            file, group = self._groups[number]
            self._cached = (number, _values(file.read_row_group(group, columns=[self.name]), self.name))
        values = self._cached[1]
        vector: NDArray[Any] = values[place - self._group_ends[number] + len(values)]
        return vector

    def _choose(self, name: str | None) -> str:
        if name is None and len(self.names) == 1:
            (name,) = self.names
        if name is None or name not in self.names:
            given = "name one" if name is None else f"asked for is {name}"
            raise DataError(f"{self._path}: holds {', '.join(self.names)}; {given}.")
        return name


def open_embeddings(path: str | os.PathLike[str], name: str | None = None) -> Embeddings:
    """Open what ``infer_esm2`` wrote; vectors are read when they are asked for.

    Args:
        path: The folder.
        name: What to look up, for example ``mean`` or ``hidden_states``; None: the one that there is.

    Raises:
        MissingFileError: The folder holds no results.
        DataError: Several things were written and none is named, or there is none of this name.

    Example:
        >>> open_embeddings("embeddings")["P12345"].shape  # doctest: +SKIP
        (1280,)
    """
    return Embeddings(Path(path), name)


def read_lengths(path: Path) -> NDArray[np.int64]:
    """Return the residues of each protein, [P], of results that may not be complete."""
    import pyarrow.parquet as pq

    return _joined([pq.read_table(file, columns=["length"]) for file in _table_files(path)], "length")


def _table_files(path: Path) -> list[Path]:
    if (path / SEQUENCES_NAME).is_file():
        return [path / SEQUENCES_NAME]
    files = sorted((path / SEQUENCES_DIR).glob("*.parquet"))
    if not files:
        raise MissingFileError(f"{path}: holds no {SEQUENCES_NAME}. Give a folder that infer_esm2 wrote.")
    return files


def _open_shard(path: Path, number: int) -> Any:
    from safetensors import safe_open

    return safe_open(path / shard_name(number), framework="numpy")


def _joined(tables: "Sequence[pa.Table]", name: str) -> NDArray[np.int64]:
    return np.concatenate([table.column(name).to_numpy() for table in tables])


def _values(table: "pa.Table", name: str) -> NDArray[Any]:
    """Return a column of numbers, or of lists of one length as a matrix."""
    values = table.column(name).combine_chunks()
    if not hasattr(values.type, "list_size"):
        found: NDArray[Any] = values.to_numpy()
        return found
    matrix: NDArray[Any] = values.flatten().to_numpy().reshape(len(values), -1)
    return matrix
