# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Writing sequence stores as a stream: memory stays bounded whatever the size of the source.

The bound: one block of FASTA text (8 MiB, and its longest record) with its tokens, plus the sorting of ids, which goes
through hashes of 8 bytes kept on the disk and takes them `bionemo.esm2.data.array_files.SORT_ITEMS`
at a time (about 100 MiB).
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bionemo.core.errors import DataFileError, FormatError, MissingFileError
from bionemo.core.files import atomic_directory, write_json
from bionemo.core.progress import progress_bar
from bionemo.esm2.data.clusters import write_cluster_files
from bionemo.esm2.data.fasta import iter_encoded_blocks
from bionemo.esm2.data.fasta_blocks import EncodedBlock
from bionemo.esm2.data.fasta_files import FastaSource, fasta_paths, is_stream, name_of, size_bytes
from bionemo.esm2.data.fasta_policy import (
    REJECTED_NAME,
    BadRecordPolicy,
    DuplicatePolicy,
    FastaPolicy,
    FastaSummary,
    IllegalPolicy,
    RejectedFile,
)
from bionemo.esm2.data.sequence_store import (
    FORMAT_NAME,
    FORMAT_VERSION,
    HEADER_NAME,
    SequenceStore,
    header_checksum,
    is_store,
)
from bionemo.esm2.data.store_columns import (
    remove_temporary_columns,
    resolve_duplicates,
    write_columns,
    write_id_index,
)


logger = logging.getLogger(__name__)


def build_store(
    fasta_path: FastaSource,
    store_dir: str | os.PathLike[str],
    *,
    clusters_path: str | os.PathLike[str] | None = None,
    on_illegal: IllegalPolicy = "error",
    on_bad_record: BadRecordPolicy = "error",
    on_duplicate_id: DuplicatePolicy | None = None,
    overwrite: bool = False,
) -> SequenceStore:
    r"""Write a store from FASTA files.

    Args:
        fasta_path: FASTA file, folder of them, pipe, ``-`` for standard input, or a list of these; plain, or
            compressed with gzip, bzip2, xz or Zstandard.
        store_dir: Folder to write; it appears when it is complete.
        clusters_path: Table with two columns, representative and member (tab-separated, or parquet), or None.
        on_illegal: Whether a letter that ESM-2 does not know makes its record bad or becomes ``<unk>``.
        on_bad_record: What is done with bad records, see `FastaPolicy`. What is left out is listed in
            ``rejected.tsv`` in the store.
        on_duplicate_id: What is done with a record whose id an earlier one has; None: an error, left out or numbered,
            as `on_bad_record` is ``"error"``, ``"skip"`` or ``"fix"``.
        overwrite: Whether an existing store may be replaced.

    Returns:
        The store, opened.

    Raises:
        MissingFileError, DataFileError, FormatError, DataError: As `bionemo.esm2.data.fasta.read_fasta`; an id that
            occurs twice; no record is left; a bad cluster table; a folder that cannot be written or holds something
            else.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "in.fasta").write_text(">P1\nMKTAYIAK\n>P2\nMSES\n")
        >>> store = build_store(folder / "in.fasta", folder / "store")
        >>> len(store), store.id(1), store.sequence(1)
        (2, 'P2', 'MSES')
    """
    target = Path(store_dir)
    if overwrite and target.is_dir() and any(target.iterdir()) and not is_store(target):
        raise DataFileError(f"{target}: holds files that are no sequence store. Choose another folder.")
    policy = FastaPolicy(on_illegal=on_illegal, on_bad_record=on_bad_record, on_duplicate_id=on_duplicate_id)
    paths = fasta_paths(fasta_path)
    summary = FastaSummary()
    with (
        atomic_directory(target, overwrite=overwrite) as folder,
        contextlib.closing(RejectedFile(folder / REJECTED_NAME)) as rejected,
    ):
        # The fingerprint is taken first: a file that changes while it is read does not match it later.
        source = fingerprint(paths, clusters_path, policy)
        files = _write_sequences(paths, folder, policy, summary, rejected)
        header: dict[str, Any] = {
            "format": FORMAT_NAME,
            "version": FORMAT_VERSION,
            "num_sequences": summary.num_sequences,
            "max_length": _max_length(folder),
            "source": source,
            "summary": summary.to_dict(),
            "files": files,
        }
        _write_header(folder, header)
        if clusters_path is not None:
            store = SequenceStore.open(folder, verify=False)
            files |= write_cluster_files(clusters_path, store, folder)
            _write_header(folder, header)
            del store
    summary.log(_label(paths))
    if summary.num_records_rejected:
        logger.warning(
            "%s: %d records were left out, listed in %s. The first: %s.",
            _label(paths),
            summary.num_records_rejected,
            target / REJECTED_NAME,
            rejected.first,
        )
    return SequenceStore.open(target, verify=False)


def open_or_build_store(
    path: FastaSource,
    store_dir: str | os.PathLike[str],
    *,
    clusters_path: str | os.PathLike[str] | None = None,
    on_illegal: IllegalPolicy = "error",
    on_bad_record: BadRecordPolicy = "error",
    on_duplicate_id: DuplicatePolicy | None = None,
) -> SequenceStore:
    """Open the store of FASTA files, and build it first where there is none or a file has changed.

    Args:
        path: As in `build_store`; or a folder that already is a store (then nothing is built).
        store_dir: Where the store of FASTA files is kept. It is reused when names, sizes and modification times of the
            files, and the settings, are those it was built from; never where one of them is a pipe.
        clusters_path: As in `build_store`, like all that follow.
        on_illegal: As above.
        on_bad_record: As above.
        on_duplicate_id: As above.

    Raises:
        MissingFileError, DataFileError, FormatError, DataError: As `build_store` and `SequenceStore.open`.
    """
    given = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    stores = [entry for entry in given if is_store(entry)]
    if stores and len(given) > 1:
        raise DataFileError(f"{stores[0]}: is a prepared store, which cannot be read together with other files.")
    policy = FastaPolicy(on_illegal=on_illegal, on_bad_record=on_bad_record, on_duplicate_id=on_duplicate_id)
    if stores:
        if policy != FastaPolicy():
            logger.warning(
                "%s: is a prepared store: the policies for bad records were applied when it was prepared, those given "
                "now are ignored",
                stores[0],
            )
        return SequenceStore.open(stores[0])
    paths = fasta_paths(given)
    can_reuse = not any(map(is_stream, paths))

    def existing() -> SequenceStore | None:
        if not (can_reuse and is_store(store_dir)):
            return None
        store = SequenceStore.open(store_dir)
        return store if store.header["source"] == fingerprint(paths, clusters_path, policy) else None

    store = existing()
    if store is not None:
        logger.info("%s: reusing the sequence store of %s", store_dir, _label(paths))
        return store
    if can_reuse and is_store(store_dir):
        logger.info("%s: %s has changed, building the sequence store again", store_dir, _label(paths))
    try:
        return build_store(
            given,
            store_dir,
            clusters_path=clusters_path,
            on_illegal=on_illegal,
            on_bad_record=on_bad_record,
            on_duplicate_id=on_duplicate_id,
            overwrite=True,
        )
    except DataFileError:
        store = existing()  # ranks that start together build the same store: another one was faster
        if store is None:
            raise
        return store


def fingerprint(
    paths: list[Path], clusters_path: str | os.PathLike[str] | None, policy: FastaPolicy
) -> dict[str, Any]:
    """Return what decides the content of a store: names, sizes (bytes), modification times of the inputs; policies."""
    if clusters_path is not None and not Path(clusters_path).exists():
        raise MissingFileError(f"{clusters_path}: there is no such cluster file.")
    entries = [_entry(path) for path in paths]
    return {
        "on_illegal": policy.on_illegal,
        "on_bad_record": policy.on_bad_record,
        "on_duplicate_id": policy.duplicates,
        "fasta": entries[0] if len(entries) == 1 else entries,
        "clusters": None if clusters_path is None else _entry(Path(clusters_path)),
    }


def _entry(path: Path) -> dict[str, Any]:
    if is_stream(path):
        return {"name": name_of(path), "is_stream": True}
    status = path.stat()
    return {"name": path.name, "size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _write_sequences(
    paths: list[Path], folder: Path, policy: FastaPolicy, summary: FastaSummary, rejected: RejectedFile
) -> dict[str, Any]:
    """Write tokens, ids, offsets and the index of ids; returns their entries."""
    entries = write_columns(folder, _read_blocks(paths, policy, summary, rejected))
    if summary.num_sequences == 0:
        raise FormatError(
            f"{_label(paths)}: no record is left, all {summary.num_records_rejected} were rejected. The first: "
            f"{rejected.first}."
        )
    index, duplicates = write_id_index(folder)
    entries |= index
    if duplicates:
        names = [name_of(path) for path in paths]
        entries = resolve_duplicates(folder, duplicates, policy.duplicates, names, summary, rejected)
    remove_temporary_columns(folder)
    return entries


def _read_blocks(
    paths: list[Path], policy: FastaPolicy, summary: FastaSummary, rejected: RejectedFile
) -> Iterator[EncodedBlock]:
    with progress_bar(total=size_bytes(paths), unit="B", description=name_of(paths[0])) as bar:
        yield from iter_encoded_blocks(
            paths,
            on_illegal=policy.on_illegal,
            on_bad_record=policy.on_bad_record,
            summary=summary,
            on_rejected=rejected,
            on_progress=bar.update,
        )


def _max_length(folder: Path) -> int:
    offsets = np.memmap(folder / "offsets.bin", dtype="<i8", mode="r").view(np.ndarray)
    step = 2**22
    return max(int(np.diff(offsets[start : start + step + 1]).max()) for start in range(0, len(offsets) - 1, step))


def _label(paths: list[Path]) -> str:
    return name_of(paths[0]) if len(paths) == 1 else f"{name_of(paths[0])} and {len(paths) - 1} other files"


def _write_header(folder: Path, header: dict[str, Any]) -> None:
    header["header_crc32"] = header_checksum(header)
    write_json(folder / HEADER_NAME, header)
