# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The sequence store: proteins as one memory-mapped array of tokens, with offsets and ids.

A store is a folder:

=================  =======  =====  ==================================================================================
file               dtype    items  content
=================  =======  =====  ==================================================================================
store.json         -        -      header: format, version, counts, size and crc32 of each file, source
tokens.bin         uint8    T      each sequence as the model reads it: ``<cls>``, residues, ``<eos>``
offsets.bin        int64    N + 1  sequence i is ``tokens[offsets[i]:offsets[i + 1]]``
ids.bin            uint8    -      ids in UTF-8, one after the other
id_offsets.bin     int64    N + 1  id i is ``ids[id_offsets[i]:id_offsets[i + 1]]``
id_hashes.bin      uint64   N      blake2b hashes of the ids, sorted: an index from id to sequence
id_order.bin       int64    N      the sequence that each entry of id_hashes belongs to
=================  =======  =====  ==================================================================================

and, where a cluster table was given, ``cluster_offsets.bin`` (int64, C + 1) and ``cluster_members.bin`` (int64, M):
cluster c holds the sequences ``cluster_members[cluster_offsets[c]:cluster_offsets[c + 1]]``.

All numbers are little endian. Stores are written by `bionemo.esm2.data.sequence_store_writer`.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError, FormatError, MissingFileError
from bionemo.esm2.data.tokenizer import VOCABULARY


FORMAT_NAME = "bionemo-sequence-store"
FORMAT_VERSION = 1
HEADER_NAME = "store.json"
ALWAYS_VERIFIED_BYTES = 256 * 2**20
"""Stores up to this size are checked against their checksums whenever they are opened (about 0.2 s)."""

_REQUIRED = {
    "tokens.bin": "|u1",
    "offsets.bin": "<i8",
    "ids.bin": "|u1",
    "id_offsets.bin": "<i8",
    "id_hashes.bin": "<u8",
    "id_order.bin": "<i8",
}
_OPTIONAL = {"cluster_offsets.bin": "<i8", "cluster_members.bin": "<i8"}
_CHUNK_BYTES = 16 * 2**20


class SequenceSource(Protocol):
    """What a data set asks of a place that holds encoded sequences."""

    def __len__(self) -> int:
        """Number of sequences."""

    def id(self, idx: int) -> str:
        """Id of a sequence."""

    def lengths_of(self, idxs: NDArray[np.int64]) -> NDArray[np.int64]:
        """[B] int64, tokens of each sequence, special tokens included."""

    def gather(
        self,
        idxs: NDArray[np.int64],
        starts: NDArray[np.int64] | None = None,
        lengths: NDArray[np.int64] | None = None,
    ) -> NDArray[np.uint8]:
        """[sum of lengths] uint8, windows of sequences one after the other."""


class Clusters(NamedTuple):
    """Which sequences stand for each other."""

    offsets: NDArray[np.int64]
    """[C + 1] int64, cluster c is ``members[offsets[c]:offsets[c + 1]]``."""

    members: NDArray[np.int64]
    """[M] int64, sequences."""


class SequenceStore:
    """A store opened for reading: memory-mapped, shared between processes, pickled as its path.

    Attributes:
        path: Folder of the store.
        header: Content of ``store.json``.
        tokens: [T] uint8.
        offsets: [N + 1] int64.
        clusters: The clusters of the table that the store was prepared with, or None.
    """

    def __init__(self, path: Path, header: dict[str, Any], arrays: dict[str, NDArray[Any]]):
        self.path = path
        self.header = header
        self.tokens: NDArray[np.uint8] = arrays["tokens.bin"]
        self.offsets: NDArray[np.int64] = arrays["offsets.bin"]
        self.clusters: Clusters | None = None
        if "cluster_offsets.bin" in arrays:
            self.clusters = Clusters(arrays["cluster_offsets.bin"], arrays["cluster_members.bin"])
        self._id_bytes = arrays["ids.bin"]
        self._id_offsets = arrays["id_offsets.bin"]
        self._id_hashes = arrays["id_hashes.bin"]
        self._id_order = arrays["id_order.bin"]

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: bool | None = None) -> "SequenceStore":
        """Open a store.

        Args:
            path: Folder of the store.
            verify: Whether to compare every byte with the checksums; None: only for stores up to 256 MiB. The header,
                the size of each file and the ends of the offsets are always checked.

        Raises:
            MissingFileError: There is no store at the path.
            FormatError: A file is missing, truncated or damaged, or the store has a version that is not known.
        """
        folder = Path(path).resolve()
        header = _read_header(folder)
        arrays = {name: _map_array(folder, name, entry) for name, entry in header["files"].items()}
        store = cls(folder, header, arrays)
        store._check_ends()
        total_bytes = sum(entry["size_bytes"] for entry in header["files"].values())
        if verify or (verify is None and total_bytes <= ALWAYS_VERIFIED_BYTES):
            store.verify()
        return store

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return _reopen, (str(self.path),)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"SequenceStore({str(self.path)!r}, {len(self)} sequences, {len(self.tokens)} tokens)"

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[N] int64, tokens of each sequence, ``<cls>`` and ``<eos>`` included. Allocates; see `lengths_of`."""
        return np.diff(self.offsets)

    def lengths_of(self, idxs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of the sequences given: [B] int64, ``<cls>`` and ``<eos>`` included."""
        lengths: NDArray[np.int64] = self.offsets[idxs + 1] - self.offsets[idxs]
        return lengths

    def gather(
        self,
        idxs: NDArray[np.int64],
        starts: NDArray[np.int64] | None = None,
        lengths: NDArray[np.int64] | None = None,
    ) -> NDArray[np.uint8]:
        """Copy windows of sequences one after the other.

        Args:
            idxs: [B] int64, sequences, each in [0, N).
            starts: [B] int64, first token of each window; None: 0.
            lengths: [B] int64, tokens of each window; None: up to the end of the sequence.

        Returns:
            [sum of lengths] uint8.

        Raises:
            DataError: A window reaches outside its sequence.
            FormatError: The offsets of the store are damaged.
        """
        begin, end = self.offsets[idxs], self.offsets[idxs + 1]
        first = begin if starts is None else begin + starts
        last = end if lengths is None else first + lengths
        if np.any((first < begin) | (last > end) | (first > last)):
            row = int(np.flatnonzero((first < begin) | (last > end) | (first > last))[0])
            if begin[row] > end[row]:
                raise self._damaged("offsets.bin", f"decreases at sequence {int(idxs[row])}")
            raise DataError(
                f"{self.path}: tokens {int(first[row] - begin[row])} to {int(last[row] - begin[row])} of sequence "
                f"{int(idxs[row])} were asked for, but it has {int(end[row] - begin[row])}."
            )
        windows = [self.tokens[a:b] for a, b in zip(first.tolist(), last.tolist(), strict=True)]
        return np.concatenate(windows) if windows else np.empty(0, dtype=np.uint8)

    def id(self, idx: int) -> str:
        """Id of a sequence: the first word of its FASTA header."""
        if not 0 <= idx < len(self):
            raise IndexError(f"sequence {idx} is out of range: {self.path} has {len(self)}.")
        return bytes(self._id_bytes[self._id_offsets[idx] : self._id_offsets[idx + 1]]).decode()

    def sequence(self, idx: int) -> str:
        """Residues of a sequence as text, without special tokens."""
        ids = self.gather(np.array([idx]))[1:-1]
        return "".join(VOCABULARY[token_id] for token_id in ids.tolist())

    def find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Sequences of ids.

        Args:
            ids: Ids to look up.

        Returns:
            [len(ids)] int64, -1 where the store has no such id.
        """
        hashes = hash_ids([name.encode() for name in ids])
        found = np.full(len(ids), -1, dtype=np.int64)
        left = np.searchsorted(self._id_hashes, hashes)
        for row, (entry, name) in enumerate(zip(left.tolist(), ids, strict=True)):
            while entry < len(self) and self._id_hashes[entry] == hashes[row]:
                idx = int(self._id_order[entry])
                if self.id(idx) == name:
                    found[row] = idx
                    break
                entry += 1
        return found

    def verify(self) -> None:
        """Compare every file with its checksum.

        Raises:
            FormatError: A file was changed since it was written.
        """
        for name, entry in self.header["files"].items():
            checksum = 0
            with (self.path / name).open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    checksum = zlib.crc32(chunk, checksum)
            if checksum != entry["crc32"]:
                raise self._damaged(name, f"has checksum {checksum:#010x}, expected {entry['crc32']:#010x}")

    def _check_ends(self) -> None:
        for name, offsets, num_items in (
            ("offsets.bin", self.offsets, len(self.tokens)),
            ("id_offsets.bin", self._id_offsets, len(self._id_bytes)),
        ):
            if len(offsets) != self.header["num_sequences"] + 1 or offsets[0] != 0 or offsets[-1] != num_items:
                raise self._damaged(name, "does not span the sequences")
        if self.clusters is not None and self.clusters.offsets[-1] != len(self.clusters.members):
            raise self._damaged("cluster_offsets.bin", "does not span the members")

    def _damaged(self, name: str, what: str) -> FormatError:
        return damaged(self.path, f"{name} {what}")


def damaged(path: Path, what: str) -> FormatError:
    """The error for a store that cannot be trusted."""
    return FormatError(f"{path}: the sequence store is damaged: {what}. Delete it and prepare the data again.")


def hash_ids(ids: Sequence[bytes]) -> NDArray[np.uint64]:
    """[n] uint64, blake2b hashes of ids, equal in every process."""
    blake2b = hashlib.blake2b
    return np.frombuffer(b"".join([blake2b(name, digest_size=8).digest() for name in ids]), dtype="<u8")


def header_checksum(header: dict[str, Any]) -> int:
    """crc32 of a header's content, its own entry left out."""
    content = {key: value for key, value in header.items() if key != "header_crc32"}
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def is_store(path: str | os.PathLike[str]) -> bool:
    """Check whether a path is the folder of a sequence store."""
    return (Path(path) / HEADER_NAME).is_file()


def _reopen(path: str) -> SequenceStore:
    """Open in another process what was already verified in the first."""
    return SequenceStore.open(path, verify=False)


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / HEADER_NAME
    if not path.is_file():
        raise MissingFileError(f"{folder}: there is no sequence store ({HEADER_NAME} is missing). Check the path.")
    try:
        header = json.loads(path.read_bytes())
    except ValueError as error:  # also what is not UTF-8
        raise damaged(folder, f"{HEADER_NAME} is not JSON ({error})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT_NAME:
        raise damaged(folder, f"{HEADER_NAME} does not describe a {FORMAT_NAME}")
    if header.get("version") != FORMAT_VERSION:
        raise FormatError(
            f"{folder}: the sequence store has version {header.get('version')}, this release reads {FORMAT_VERSION}. "
            "Prepare the data again."
        )
    if header.get("header_crc32") != header_checksum(header):
        raise damaged(folder, f"{HEADER_NAME} was changed after it was written")
    return header


def _map_array(folder: Path, name: str, entry: dict[str, Any]) -> NDArray[Any]:
    """Map one file, after its size was compared with the header."""
    path = folder / name
    if entry["dtype"] != {**_REQUIRED, **_OPTIONAL}.get(name):
        raise damaged(folder, f"{HEADER_NAME} names {name} with dtype {entry['dtype']}")
    if not path.is_file():
        raise damaged(folder, f"{name} is missing")
    size_bytes = path.stat().st_size
    if size_bytes != entry["size_bytes"]:
        raise damaged(folder, f"{name} has {size_bytes} bytes, expected {entry['size_bytes']}")
    # A plain view of the map: slices of np.memmap itself are several times slower.
    return np.memmap(path, dtype=entry["dtype"], mode="r").view(np.ndarray)
