# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile files for every loader: what they would do to a trusting one is crash, run code, escape or fill the memory.

`hostile_pickles`, `hostile_arrays`, `hostile_json` and `hostile_gzip` make the files; `load_each` lets a loader read
them in a process of its own and tells how each ended. A new loader gets a test of three lines.
"""

import gzip
import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


CANARY = "canary"
"""Name of the file that executed code would leave in the current folder."""
_TIMEOUT_S = 300


class _Calls:
    """An object whose pickle asks for a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._reduced = function, arguments

    def __reduce__(self) -> Any:
        return self._reduced


def _text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def _name(module: str, attribute: str) -> bytes:
    return _text(module) + _text(attribute) + b"\x93"


def _dtype(name: str, flags: int = 0) -> bytes:
    """Pickle a dtype with the flags that are stated: 0 says that it holds no objects."""
    state = b"(K\3" + _text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK" + bytes([flags]) + b"tb"
    return _name("numpy", "dtype") + _text(name) + b"\x89\x88\x87R" + state


def _array(shape: bytes, dtype: bytes, content: bytes) -> bytes:
    """Pickle an array with the state that is stated."""
    start = _name("numpy.core.multiarray", "_reconstruct") + b"(" + _name("numpy", "ndarray") + b"K\0\x85C\x01btR"
    return start + b"(K\1" + shape + dtype + b"\x89" + content + b"tb"


_ADDRESSES = b"C\x08" + b"\x41" * 8
_BYTES_1MB = b"B" + struct.pack("<I", 2**20) + bytes(2**20)


def hostile_pickles() -> dict[str, bytes]:
    """Make pickles of protocol 0 to 4."""
    touch = f"open({CANARY!r}, 'w')"
    buffer = _name("numpy", "ndarray") + b"(K\1\x85" + _text("O") + _ADDRESSES + b"tR."
    return {
        "command": pickle.dumps(_Calls(os.system, f"touch {CANARY}")),
        "command, protocol 0": pickle.dumps(_Calls(os.system, f"touch {CANARY}"), 0),
        "eval in an array": pickle.dumps(np.array([_Calls(eval, touch)], dtype=object)),
        "eval in a set": pickle.dumps({"a": [frozenset({1}), _Calls(eval, touch)]}),
        "open": pickle.dumps(_Calls(open, CANARY, "w")),
        "import": _name("importlib", "import_module") + _text("this") + b"\x85R.",
        "dotted name": _name("builtins", "dict.fromkeys") + b"](K\1e\x85R.",
        "object array over a buffer": buffer,
        "objects over bytes": _array(b"K\1\x85", _dtype("O8", 63), _ADDRESSES) + b".",
        "objects over bytes, flag cleared": _array(b"K\1\x85", _dtype("O8"), _ADDRESSES) + b".",
        "objects in records": _array(b"K\1\x85", _dtype("V8"), _ADDRESSES) + b"." + _dtype("O8"),
        "array longer than its bytes": _array(b"J\xff\xff\xff\x7f\x85", _dtype("f8"), _ADDRESSES) + b".",
        "array of 2**62 empty items": _array(b"\x8a\x08" + struct.pack("<q", 2**62) + b"\x85", _dtype("S0"), b"C\0")
        + b".",
        "array that contains itself": _array(b"K\1\x85", _dtype("O8", 63), b"](h\0e").replace(
            b"R(K\1K", b"Rq\0(K\1K", 1
        )
        + b".",
        "state of a function": _name("_codecs", "encode") + b"}" + _text("x") + b"K\1sb.",
        "state of a class": _name("numpy", "ndarray") + b"N}" + _text("shape") + b"K\1s\x86b.",
        "memo of 2**32": b"Nr\xff\xff\xff\xff.",
        "memo of 2**32, protocol 0": b"Np4294967295\n.",
        "text of 2**60 bytes": b"\x8d" + struct.pack("<Q", 2**60) + b".",
        "bytes of 2**40": _name("builtins", "bytearray") + b"\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85R.",
        "list of a range": _name("builtins", "list")
        + _name("builtins", "range")
        + b"\x8a\x06"
        + (2**40).to_bytes(6, "little")
        + b"\x85R\x85R.",
        "copies of bytes": _BYTES_1MB + b"q\0](" + (_name("builtins", "bytearray") + b"h\0\x85R") * 2000 + b"e.",
        "many sets": b"](" + b"\x8f" * 4_000_000 + b"e.",
        "deep lists": b"]" * 100_000 + b"a" * 99_999 + b".",
        "deep key": b"})" + b"\x85" * 300_000 + b"K\1s.",
        "wide keys": b"}K\1\x85" + b"".join(b"q\x000(" + b"h\0" * 300 + b"t" for _ in range(6)) + b"K\1s.",
        "cut off": pickle.dumps(list(range(1000)))[:-5],
        "nothing": b"",
        "no pickle": b"\x89HDF\r\n\x1a\n",
    }


def hostile_tensors() -> dict[str, bytes]:
    """Make pickles of tensors that reach beyond their memory."""
    import torch

    honest = torch.arange(4.0).__reduce_ex__(2)[1][0]

    def tensor(offset: int, size: tuple[int, ...], stride: tuple[int, ...], hooks: Any = None) -> bytes:
        arguments = (honest, offset, size, stride, False, hooks or {})
        return pickle.dumps(_Calls(torch._utils._rebuild_tensor_v2, *arguments))

    return {
        "beyond the end": tensor(0, (5,), (1,)),
        "offset": tensor(2**40, (1,), (1,)),
        "negative offset": tensor(-1, (1,), (1,)),
        "negative stride": tensor(3, (2,), (-1,)),
        "stride": tensor(0, (2, 2), (2**40, 1)),
        "expanded": tensor(0, (2**40,), (0,)),
        "hooks": tensor(0, (4,), (1,), {"hook": 1}),
    }


def hostile_arrays() -> dict[str, bytes]:
    """Make ``.npy`` files: every hostile pickle as the content of an object array, and headers that lie."""

    def npy(header: str, content: bytes) -> bytes:
        padded = header.encode() + b" " * (-len(header) % 64) + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + content

    objects = "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"
    files = {f"pickle: {name}": npy(objects, data) for name, data in hostile_pickles().items()}
    return files | {
        "shape of 2**40": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,)}", b"\0" * 64),
        "shape of 2**62 empty items": npy(f"{{'descr': '|S0', 'fortran_order': False, 'shape': ({2**62},)}}", b""),
        "negative shape": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", b"\0" * 8),
        "deep header": npy("[" * 5000 + "]" * 5000, b""),
        "code in the header": npy(f"{{'descr': open('{CANARY}', 'w'), 'fortran_order': False, 'shape': ()}}", b""),
        "cut off": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (9,)}", b"\0" * 8),
    }


def hostile_json() -> dict[str, bytes]:
    """Make JSON that is deep, of another type, or no JSON."""
    return {
        "deep list": b"[" * 200_000,
        "deep object": b'{"a":' * 200_000,
        "list": b"[1, 2]",
        "text": b'"a"',
        "number": b"1",
        "null": b"null",
        "huge number": b'{"a": ' + b"9" * 100_000 + b"}",
        "NaN": b'{"a": NaN, "b": Infinity}',
        "values of other types": json.dumps({"files": [], "num_rows": "x", "": {"a": [None]}}).encode(),
        "no UTF-8": b'{"\xff\xfe": 1}',
        "zeros": bytes(1000),
        "nothing": b"",
    }


def hostile_gzip() -> dict[str, bytes]:
    """Make gzip files that unpack to hundreds of megabytes, and damaged ones."""
    zeros = gzip.compress(bytes(2**26), 9)
    return {
        "320 MiB in 5 members": zeros * 5,
        "packed twice": gzip.compress(gzip.compress(bytes(2**26), 9) * 20, 9),
        "spaces around JSON": gzip.compress(b" " * 2**27 + b"{}", 9),
        "cut off": zeros[:-9],
        "checksum": zeros[:-8] + b"\0\0\0\1" + zeros[-4:],
        "no gzip": b"{}",
    }


@dataclass(frozen=True)
class Outcome:
    """How a loader ended.

    Attributes:
        error: Name of the exception's class; None where it returned; ``"died"`` where the process did.
        is_ours: Whether the exception is a `bionemo.core.errors.BionemoError`.
        message: Its text, or the type of what was returned.
        added_mb: Growth of the process's peak memory while it ran.
    """

    error: str | None
    is_ours: bool
    message: str
    added_mb: float


_CHILD = """
import json, pathlib, sys, warnings
from bionemo.core.errors import BionemoError
warnings.simplefilter("ignore")
exec(sys.argv[1])

def memory(kind):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind))

for position in map(int, sys.argv[2:]):
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    outcome = {"position": position, "error": None, "is_ours": False}
    try:
        outcome["message"] = type(load(pathlib.Path("files") / str(position))).__name__
    except Exception as error:
        outcome |= {"error": type(error).__name__, "is_ours": isinstance(error, BionemoError)}
        outcome["message"] = ascii(str(error))[1:-1][:2000]
    outcome["added_mb"] = memory("VmHWM") - before
    print(json.dumps(outcome), flush=True)
"""


def load_each(load: str, files: Mapping[str, bytes], folder: Path) -> dict[str, Outcome]:
    """Make a loader read hostile files, in a process of its own.

    Args:
        load: Python source that defines ``load(path)``.
        files: Name to content.
        folder: An empty folder; the process runs in it.

    Returns:
        The outcome of each file; those behind one that killed the process are read by another process.

    Raises:
        AssertionError: Code was executed.
    """
    (folder / "files").mkdir()
    names = list(files)
    for position, name in enumerate(names):
        (folder / "files" / str(position)).write_bytes(files[name])
    found: dict[str, Outcome] = {}
    while len(found) < len(names):
        todo = [str(position) for position, name in enumerate(names) if name not in found]
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, load, *todo], cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
        for line in done.stdout.splitlines():
            record = json.loads(line)
            name = names[record.pop("position")]
            found[name] = Outcome(**record)
        if done.returncode != 0:
            died = next(name for name in names if name not in found)
            found[died] = Outcome("died", False, f"exit {done.returncode}: {done.stderr[-2000:]}", 0.0)
    assert not (folder / CANARY).exists(), "a hostile file ran code"
    return found
