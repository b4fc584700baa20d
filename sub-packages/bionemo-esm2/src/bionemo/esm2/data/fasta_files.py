# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""FASTA inputs as streams of bytes: files, folders, pipes and standard input, plain or compressed.

gzip, bzip2, xz and Zstandard are recognized by their first bytes, not by the file's name, and decompressed in this
process through `xopen` (gzip by ISA-L: about three times the speed of the standard library).
"""

import contextlib
import io
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from bionemo.core.errors import DataFileError, FormatError, MissingFileError


PathLike = str | os.PathLike[str]
FastaSource = PathLike | Sequence[PathLike]
"""One FASTA file, folder or pipe, ``-`` for standard input, or several of them."""

FASTA_SUFFIXES = (".fasta", ".fa", ".faa", ".fas", ".pep", ".seq")
_STDIN = "-"
_COMPRESSIONS = {  # suffix: name, first bytes
    ".gz": ("gzip", b"\x1f\x8b"),
    ".bz2": ("bzip2", b"BZh"),
    ".xz": ("xz", b"\xfd7zXZ\x00"),
    ".zst": ("Zstandard", b"\x28\xb5\x2f\xfd"),
}


def fasta_paths(source: FastaSource) -> list[Path]:
    """Return the files of a source in the order in which they are read.

    Args:
        source: Files in the order given; of a folder, its files with a FASTA suffix by name, compressed ones too.

    Returns:
        At least one path; ``Path("-")`` is standard input.

    Raises:
        MissingFileError: There is no such file or folder.
        DataFileError: A folder holds no FASTA file, or nothing was given.
    """
    given = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    if not given:
        raise DataFileError("No FASTA file was given. Name at least one.")
    return [path for entry in given for path in _files_of(Path(entry))]


def is_stream(path: PathLike) -> bool:
    """Return whether a path is standard input or a pipe: it has no size and can be read only once."""
    if str(path) == _STDIN:
        return True
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def size_bytes(paths: Sequence[Path]) -> int | None:
    """Return the total size of files as they lie on the disk; None where one of them is a stream."""
    return None if any(map(is_stream, paths)) else sum(path.stat().st_size for path in paths)


def name_of(path: PathLike) -> str:
    """Return what messages call a path."""
    return "standard input" if str(path) == _STDIN else str(path)


def iter_text(path: Path, *, block_bytes: int, on_progress: Callable[[int], object] | None = None) -> Iterator[bytes]:
    """Iterate over the decompressed content of one file or stream.

    Args:
        path: File, pipe or ``-``.
        block_bytes: Size of each block but the last.
        on_progress: Called with the number of bytes read from the disk since the last call; not called for streams.

    Yields:
        Blocks of text, none empty.

    Raises:
        DataFileError: The file cannot be read, or its compressed stream is damaged or ends early.
        FormatError: Its name promises a compression that its first bytes do not have.
    """
    with _open_raw(path) as raw:
        suffix = _compression_of(path, raw)
        stream = raw if suffix is None else _decompressed(raw, suffix)
        has_size = on_progress is not None and not is_stream(path)
        reported = num_bytes = 0
        while block := _read(path, stream, suffix, block_bytes, num_bytes):
            num_bytes += len(block)
            if has_size and on_progress is not None:
                on_progress(raw.tell() - reported)
                reported = raw.tell()
            yield block


def _files_of(path: Path) -> list[Path]:
    if str(path) == _STDIN or is_stream(path):
        return [path]
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such FASTA file. Check the path.")
    if not path.is_dir():
        return [path]
    files = [file for file in sorted(path.iterdir()) if _has_fasta_suffix(file) and not file.name.startswith(".")]
    if not files:
        raise DataFileError(
            f"{path}: is a folder without FASTA files. Expected names that end in {', '.join(FASTA_SUFFIXES)}, "
            f"or these followed by {', '.join(_COMPRESSIONS)}."
        )
    return files


def _has_fasta_suffix(path: Path) -> bool:
    name = path.name.lower()
    for suffix in _COMPRESSIONS:
        name = name.removesuffix(suffix)
    return name.endswith(FASTA_SUFFIXES) and path.is_file()


@contextlib.contextmanager
def _open_raw(path: Path) -> Iterator[io.BufferedReader]:
    if str(path) == _STDIN:
        yield cast("io.BufferedReader", sys.stdin.buffer)
        return
    try:
        raw = path.open("rb")
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error.strerror}.") from error
    with raw:
        yield raw


def _compression_of(path: Path, raw: io.BufferedReader) -> str | None:
    """Recognize the compression by the first bytes, and compare it with the file's name."""
    try:
        start = raw.peek(6)
    except OSError as error:
        raise DataFileError(f"{name_of(path)}: cannot be read: {error.strerror}.") from error
    found = next((suffix for suffix, (_, magic) in _COMPRESSIONS.items() if start.startswith(magic)), None)
    promised = path.suffix.lower()
    if start and promised in _COMPRESSIONS and promised != found:
        name = _COMPRESSIONS[promised][0]
        raise FormatError(f"{path}: is named {promised} but is not {name}. Rename it, or compress it with {name}.")
    return found


def _decompressed(raw: io.BufferedReader, suffix: str) -> BinaryIO:
    from xopen import xopen

    return xopen(raw, "rb", threads=0, format=suffix[1:])  # 0: no helper process, no thread


def _read(path: Path, stream: BinaryIO, suffix: str | None, block_bytes: int, num_bytes: int) -> bytes:
    """Read one block; a damaged compressed stream is reported with the amount of text before the damage."""
    if suffix is None:
        try:
            return stream.read(block_bytes)
        except OSError as error:
            raise DataFileError(f"{name_of(path)}: cannot be read: {error.strerror or error}.") from error
    name = _COMPRESSIONS[suffix][0]
    try:
        return stream.read(block_bytes)
    except EOFError as error:
        raise DataFileError(
            f"{name_of(path)}: the {name} stream is truncated (within the {block_bytes} bytes of text after byte "
            f"{num_bytes}). Copy or download the file again."
        ) from error
    except _decompression_errors() as error:
        raise DataFileError(
            f"{name_of(path)}: the {name} stream is damaged (within the {block_bytes} bytes of text after byte "
            f"{num_bytes}): {error}. Copy or download it again."
        ) from error


def _decompression_errors() -> tuple[type[Exception], ...]:
    """Return what the decompressors raise on damaged input; bzip2 and gzip headers raise OSError."""
    kinds: list[type[Exception]] = [OSError, zlib.error, lzma.LZMAError]
    for module, name in (("isal.isal_zlib", "error"), ("zlib_ng.zlib_ng", "error"), ("backports.zstd", "ZstdError")):
        loaded: Any = sys.modules.get(module)
        if loaded is not None:
            kinds.append(getattr(loaded, name))
    return tuple(kinds)
