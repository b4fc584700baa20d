# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""From the raw members of a sample to the tuple that a user asked for.

Decoding goes by the last part of the suffix, as in webdataset (``txt``, ``json``, ``npy``, ``cls``, ...; unknown ones
stay bytes; ``.gz`` is unpacked first). The suffixes that webdataset unpickles go through the whitelist instead, and
only the members that are asked for are decoded at all.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from webdataset.autodecode import decoders

from bionemo.core.errors import DataError
from bionemo.core.unpacking import gunzip
from bionemo.webdatamodule._safe_pickle import safe_loads, safe_torch_load


_SAFE = {"pyd": safe_loads, "pickle": safe_loads, "pkl": safe_loads, "pth": safe_torch_load}


class DecodeAndExtract:
    """Pipeline stage: samples of raw bytes to tuples of decoded members.

    Args:
        suffixes: What to extract, in this order; a suffix matches members that end in ``.{suffix}``, case ignored.
        allow_pickle: Whether pickles may rebuild any class, which lets a tar run code.
        max_unpacked_bytes: Bound for what a ``.gz`` member unpacks to; 64 MiB or 100 times its size unless given.
    """

    def __init__(
        self, suffixes: Sequence[str], *, allow_pickle: bool = False, max_unpacked_bytes: int | None = None
    ) -> None:
        self._patterns = [f"*.{suffix.lower()}" for suffix in suffixes]
        self._allow_pickle, self._max_unpacked_bytes = allow_pickle, max_unpacked_bytes
        self._plans: dict[tuple[str, ...], list[tuple[str, Callable[[bytes], Any]]]] = {}

    def __call__(self, source: Iterable[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
        """Decode each sample.

        Raises:
            DataError: A suffix matches no member or several, or a member cannot be decoded or asks for a class that
                is not whitelisted. The message names the tar, the sample and the member.
        """
        for sample in source:
            members = tuple(sample)
            plan = self._plans.get(members)
            if plan is None:
                plan = self._plans[members] = self._match(sample)
            yield tuple([_decode(sample, member, decode) for member, decode in plan])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_plans": {}}  # webdataset's decoders cannot be pickled; spawned workers match anew

    def _decoder_of(self, suffix: str) -> Callable[[bytes], Any]:
        return decoder_of(suffix, allow_pickle=self._allow_pickle, max_unpacked_bytes=self._max_unpacked_bytes)

    def _match(self, sample: dict[str, Any]) -> list[tuple[str, Callable[[bytes], Any]]]:
        members = [member for member in sample if not member.startswith("__")]
        plan = []
        for pattern in self._patterns:
            matches = [member for member in members if fnmatchcase("." + member, pattern)]
            if len(matches) != 1:
                found = ", ".join(f"'.{member}'" for member in matches or members) or "none"
                wrong = "several members match" if matches else "no member matches"
                raise DataError(
                    f"{sample['__url__']}: sample '{sample['__key__']}': {wrong} '{pattern}' (found {found}). "
                    "Name one of them in suffix_keys_wds."
                )
            plan.append((matches[0], self._decoder_of(matches[0])))
        return plan


def decoder_of(suffix: str, *, allow_pickle: bool, max_unpacked_bytes: int | None = None) -> Callable[[bytes], Any]:
    """Choose the function that decodes a member; members of an unknown kind stay bytes."""
    kind = suffix.rpartition(".")[2]
    if kind == "gz":
        inner = decoder_of(suffix[: -len(".gz")], allow_pickle=allow_pickle, max_unpacked_bytes=max_unpacked_bytes)
        return functools.partial(_unpack_then, inner, max_unpacked_bytes)
    if kind in _SAFE and not allow_pickle:
        return _SAFE[kind]
    known: Callable[[bytes], Any] = decoders.get(kind, _keep)
    return known


def _decode(sample: dict[str, Any], member: str, decode: Callable[[bytes], Any]) -> Any:
    try:
        return decode(sample[member])
    except Exception as error:  # damaged bytes make decoders raise anything, and the place must be named
        raise DataError(
            f"{sample['__url__']}: sample '{sample['__key__']}', member '.{member}' cannot be decoded: {error}."
        ) from error


def _unpack_then(decode: Callable[[bytes], Any], max_unpacked_bytes: int | None, data: bytes) -> Any:
    return decode(gunzip(data, name="the member", max_unpacked_bytes=max_unpacked_bytes))


def _keep(data: bytes) -> bytes:
    return data
