# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible protein database: SQLite, table ``protein(id TEXT PRIMARY KEY, sequence TEXT)``.

Connections are read-only and opened where they are used, one for each process and thread, so that a reader can be
handed to data loader workers by fork or by pickle. Many sequences are fetched by one query.
"""

import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError, FormatError, MissingFileError
from bionemo.esm2.data.cluster_files import ClusterIds
from bionemo.esm2.data.fasta_policy import IllegalPolicy
from bionemo.esm2.data.fasta_records import encode_residues
from bionemo.esm2.data.tokenizer import BioNeMoESMTokenizer, with_specials


_IDS_PER_QUERY = 900  # below the 999 variables that every SQLite takes


class ProteinSQLiteDataset:
    """Sequences by their id.

    Args:
        db_path: SQLite file.

    Raises:
        MissingFileError: There is no such file (a ValueError too: it is `ProteinDatabaseNotFoundError`).
        FormatError: It is no SQLite file, or has no table ``protein`` with columns ``id`` and ``sequence``.
    """

    def __init__(self, db_path: str | os.PathLike[str]):
        self.db_path = Path(db_path)
        self._local = threading.local()
        if not self.db_path.is_file():
            raise ProteinDatabaseNotFoundError(f"Database file {self.db_path} not found. Check the path.")
        try:
            columns = {row[1] for row in self._connection().execute("PRAGMA table_info(protein)")}
        except sqlite3.DatabaseError as error:
            raise FormatError(f"{self.db_path}: is not a readable SQLite file: {error}.") from error
        if not {"id", "sequence"} <= columns:
            raise FormatError(
                f"{self.db_path}: expected a table protein(id, sequence), found the columns {sorted(columns)}."
            )

    def __getstate__(self) -> dict[str, Any]:
        return {"db_path": self.db_path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.db_path = state["db_path"]
        self._local = threading.local()

    def __len__(self) -> int:
        (count,) = self._connection().execute("SELECT COUNT(*) FROM protein").fetchone()
        return int(count)

    def __getitem__(self, idx: str) -> str:
        """The sequence of an id.

        Raises:
            TypeError: The id is not text.
            DataError: The database has no such id.
        """
        if not isinstance(idx, str):
            raise TypeError(f"Protein ids are text, got {idx!r} of type {type(idx).__name__}.")
        return self.fetch([idx])[0]

    def fetch(self, ids: Sequence[str]) -> list[str]:
        """Sequences of ids, in their order, by one query for each 900.

        Raises:
            DataError: The database lacks an id.
        """
        return self._select("sequence", ids)

    def fetch_lengths(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of residues of each sequence, [n] int64; the sequences stay in the database.

        Raises:
            DataError: The database lacks an id, or its sequence is NULL or empty.
        """
        lengths = self._select("LENGTH(sequence) - (SUBSTR(sequence, -1) = '*')", ids)
        if not all(lengths):
            empty = next(name for name, length in zip(ids, lengths, strict=True) if not length)
            raise _without_residues(self.db_path, empty)
        return np.asarray(lengths, dtype=np.int64)

    def _select(self, column: str, ids: Sequence[str]) -> list[Any]:
        found: dict[str, Any] = {}
        cursor = self._connection()
        for start in range(0, len(ids), _IDS_PER_QUERY):
            part = list(ids[start : start + _IDS_PER_QUERY])
            marks = ",".join("?" * len(part))
            found.update(cursor.execute(f"SELECT id, {column} FROM protein WHERE id IN ({marks})", part))
        try:
            return [found[name] for name in ids]
        except KeyError as error:
            raise DataError(f"{self.db_path}: there is no protein with id {error.args[0]!r}.") from None

    def _connection(self) -> sqlite3.Connection:
        if getattr(self._local, "pid", None) != os.getpid():  # a fork must not use its parent's connection
            address = f"file:{quote(str(self.db_path.resolve()))}?mode=ro"
            self._local.connection = sqlite3.connect(address, uri=True)
            self._local.pid = os.getpid()
        connection: sqlite3.Connection = self._local.connection
        return connection


class ProteinDatabaseNotFoundError(MissingFileError, ValueError):
    """The database file does not exist; also the ValueError that BioNeMo Framework 2 raised."""


class SQLiteSequenceSource:
    """Proteins of a database as a `bionemo.esm2.data.sequence_store.SequenceSource`: numbered and encoded.

    Args:
        dataset: The database.
        clusters: Its members, in their order, are the numbered sequences.
        tokenizer: Replaces the rules of `encode_protein`.
        on_illegal: As in `encode_protein`.
    """

    def __init__(
        self,
        dataset: ProteinSQLiteDataset,
        clusters: ClusterIds,
        tokenizer: BioNeMoESMTokenizer | None = None,
        *,
        on_illegal: IllegalPolicy = "error",
    ):
        self.dataset = dataset
        self.cluster_ids = clusters
        self.tokenizer = tokenizer
        self.on_illegal = on_illegal

    def __len__(self) -> int:
        return self.cluster_ids.num_members

    def id(self, idx: int) -> str:
        """Id of a sequence."""
        return self.cluster_ids.members(np.array([idx]))[0]

    def lengths_of(self, idxs: NDArray[np.int64]) -> NDArray[np.int64]:
        """[B] int64, tokens of each sequence, ``<cls>`` and ``<eos>`` included."""
        return self.dataset.fetch_lengths(self.cluster_ids.members(idxs)) + 2

    def gather(
        self,
        idxs: NDArray[np.int64],
        starts: NDArray[np.int64] | None = None,
        lengths: NDArray[np.int64] | None = None,
    ) -> NDArray[np.uint8]:
        """Windows of sequences one after the other, as `SequenceStore.gather`.

        Raises:
            DataError: A sequence holds an illegal character or white space, or a window reaches outside of it.
        """
        names = self.cluster_ids.members(idxs)
        windows = []
        for row, (name, sequence) in enumerate(zip(names, self.dataset.fetch(names), strict=True)):
            tokens = encode_protein(
                self.dataset.db_path, name, sequence, tokenizer=self.tokenizer, on_illegal=self.on_illegal
            )
            if self.tokenizer is not None and len(tokens) != len(sequence) + 2:
                raise DataError(f"{self.dataset.db_path}: protein {name!r} holds white space or named tokens.")
            start = 0 if starts is None else int(starts[row])
            stop = len(tokens) if lengths is None else start + int(lengths[row])
            if not 0 <= start <= stop <= len(tokens):
                raise DataError(
                    f"{self.dataset.db_path}: tokens {start} to {stop} of protein {name!r} were asked for, but it has "
                    f"{len(tokens)}."
                )
            windows.append(tokens[start:stop])
        return np.concatenate(windows) if windows else np.empty(0, dtype=np.uint8)


def encode_protein(
    db_path: Path,
    name: str,
    sequence: str | None,
    *,
    tokenizer: BioNeMoESMTokenizer | None = None,
    on_illegal: IllegalPolicy = "error",
) -> NDArray[np.uint8]:
    """Encode a sequence of a database by the rules of FASTA files: lower case is read, one final ``*`` is removed.

    Args:
        db_path: Database, for messages.
        name: Id of the protein.
        sequence: What the database holds.
        tokenizer: Replaces these rules.
        on_illegal: Whether a letter that ESM-2 does not know is an error or becomes ``<unk>``.

    Returns:
        [S] uint8, ``<cls>`` and ``<eos>`` included.

    Raises:
        DataError: There is no sequence, or it holds a character that is no residue.
    """
    if not sequence:
        raise _without_residues(db_path, name)
    if not isinstance(sequence, str):
        raise DataError(f"{db_path}: protein {name!r}: the sequence is {type(sequence).__name__}, expected text.")
    if tokenizer is not None:
        try:
            return tokenizer.encode_array(sequence)
        except DataError as error:
            raise DataError(f"{db_path}: protein {name!r}: {error}") from error
    residues = encode_residues(f"{db_path}: protein {name!r}", sequence, on_illegal)
    if not residues:
        raise _without_residues(db_path, name)
    return np.frombuffer(with_specials(residues), dtype=np.uint8)


def _without_residues(db_path: Path, name: str) -> DataError:
    return DataError(
        f"{db_path}: protein {name!r} has no residues: its sequence is NULL, empty or a lone '*'. Correct the "
        "database, or leave the id out of the cluster file."
    )
