# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Turn a folder of files into webdataset tars."""

import io
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bionemo.core.errors import ConfigError, DataError, DataFileError
from bionemo.core.progress import progress_bar
from bionemo.webdatamodule._shard_writing import ShardSetWriter


logger = logging.getLogger(__name__)

_MAX_SAMPLES_PER_TAR = 100_000
_FIRST_READ = 1 << 16


class TarWritingError(DataFileError, RuntimeError):
    """A sample could not be read, or not be written into its tar."""


def sample_from_files(prefix: str, contents: dict[str, bytes]) -> dict[str, Any]:
    """Make a webdataset sample of a name's files: the key is the name with "-" for ".", which would end the key."""
    return {"__key__": prefix.replace(".", "-"), **contents}


def pickles_to_tars(
    dir_input: str,
    input_prefix_subset: list[str],
    input_suffix: str | Iterable[str],
    dir_output: str,
    output_prefix: str,
    func_output_data: Callable[[str, dict[str, bytes]], dict[str, Any]] = sample_from_files,
    min_num_shards: int | None = None,
) -> None:
    """Copy files into tars ``{dir_output}/{output_prefix}-%06d.tar``, one sample per name; nothing is unpickled.

    Tars of that prefix from an earlier call are replaced as a whole, and stay as they are if this call fails.

    Args:
        dir_input: Folder with one file ``{name}.{suffix}`` per name and suffix.
        input_prefix_subset: The names, in the order of the samples.
        input_suffix: The suffix, or several.
        dir_output: Folder of the tars; made if missing.
        output_prefix: Start of the tars' names.
        func_output_data: Makes the sample from the name and the bytes by suffix: a dict of ``__key__`` and content by
            suffix. Content other than bytes is encoded by its suffix, as webdataset does.
        min_num_shards: Exact number of tars, whose samples differ by at most one (never more tars than samples).
            Without it a new tar starts after 100,000 samples.

    Raises:
        TypeError: ``input_suffix`` is neither a string nor iterable.
        ValueError: ``min_num_shards`` is not positive, there are no names, or two names give the same key.
        RuntimeError: A file is missing or cannot be read, or a sample cannot be written; chained to the cause.
    """
    suffixes = as_suffixes(input_suffix, "input_suffix")
    names = list(input_prefix_subset)
    if min_num_shards is not None and min_num_shards <= 0:
        raise ConfigError(f"Invalid min_num_shards = {min_num_shards} <= 0")
    if not names:
        raise DataError(f"{dir_output}: no names to write into '{output_prefix}-*.tar'; expected at least one.")
    starts = _shard_starts(len(names), min_num_shards)
    owners: dict[str, str] = {}
    with (
        ShardSetWriter(Path(dir_output), output_prefix) as writer,
        progress_bar(total=len(names), unit="sample", description=f"Writing {output_prefix} tars") as bar,
    ):
        for place, name in enumerate(names):
            if place in starts:
                writer.begin_shard()
            try:
                contents = {suffix: _read(f"{dir_input}/{name}.{suffix}") for suffix in suffixes}
                key, members = _key_and_members(func_output_data(name, contents))
                if (owner := owners.setdefault(key, name)) is name:
                    writer.write(key, members)
            except Exception as error:  # func_output_data is the user's: whatever it raises belongs to this name
                raise TarWritingError(f"Failed to write {name} into tar files. {error}") from error
            if owner is not name or len(owners) == place:
                raise DataError(
                    f"The names '{owner}' and '{name}' both give the key '{key}'; expected keys that differ. "
                    "Rename one of them."
                )
            bar.update()


def as_suffixes(value: str | Iterable[str], argument: str) -> tuple[str, ...]:
    """Return one or several suffixes as a tuple.

    Raises:
        TypeError: The value is neither a string nor iterable.
    """
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Iterable):
        return tuple(value)
    raise TypeError(f"{argument} can only be str or Iterable[str]")


def _shard_starts(num_samples: int, num_shards: int | None) -> set[int]:
    if num_shards is None:
        return set(range(0, num_samples, _MAX_SAMPLES_PER_TAR))
    if num_shards > num_samples:
        logger.warning("%d tars were asked for %d samples: writing one sample per tar.", num_shards, num_samples)
        num_shards = num_samples
    return {shard * num_samples // num_shards for shard in range(num_shards)}


def _read(path: str) -> bytes:
    # Path.read_bytes takes twice as long for small files, mostly in its constructors.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        content = os.read(descriptor, _FIRST_READ)
        if more := os.read(descriptor, _FIRST_READ):
            content = b"".join((content, more, io.FileIO(descriptor, closefd=False).readall()))
        return content
    finally:
        os.close(descriptor)


def _key_and_members(sample: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    key = sample.get("__key__")
    if not isinstance(key, str) or not key or "." in key.rpartition("/")[2]:
        raise DataError(f"The sample needs a '__key__' without a dot behind its last '/', but has {key!r}.")
    members = {suffix: content for suffix, content in sample.items() if suffix[0] != "_"}
    if not members:
        raise DataError("The sample has no content; expected at least one suffix.")
    if {type(content) for content in members.values()} != {bytes}:
        from webdataset.writer import make_encoder

        members = make_encoder(True)(members)
    return key, members
