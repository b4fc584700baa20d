# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Stack machine behind `bionemo.core.restricted_pickle`: reads pickle protocols 0 to 5 of plain data.

The unpickler of the standard library sets state on any object, allocates any size that is stated and hashes keys of
any depth; a hostile pickle turns each of these into a crash. This machine knows the opcodes of plain data and no
other. It calls the functions of a fixed table alone, sets state on :class:`Pending` objects alone, and counts the
memory it hands out. The opcodes are described in the standard library's ``pickletools``.
"""

import codecs
import pickle
import re
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from bionemo.core.errors import FormatError


_STOP, _MEMOIZE = ord("."), 0x94
# A mark behind these begins the items of a list or dictionary, which may be memoized.
_BEFORE_ITEMS = re.compile(rb"[\]}eu](?:\x94|q.)?$", re.DOTALL)
_MAX_KEY_DEPTH, _MAX_KEY_PARTS = 16, 10_000
_OPCODE_BYTES = 128  # at most, of what one opcode makes beside its own argument
_ITEM_BYTES = 128  # of a dictionary or a set
_RUN_BYTES = 24
_PLACE_BYTES = 32  # of an object in a list that grows, with what the allocator rounds up
# Numbers, None and short text, as protocols 4 and 5 write them. Each text enters the memo, numbers do not.
_LONG1 = b"|".join(b"\\x%02x.{%d}" % (size, size) for size in range(1, 9))
_TEXT = b"|".join(b"\\x%02x.{%d}" % (size, size) for size in range(256))
_PLAIN_RUN = re.compile(rb"(?:[N\x88\x89]|K.|M..|J.{4}|G.{8}|\x8a(?:%b)|\x8c(?:%b)\x94)+" % (_LONG1, _TEXT), re.DOTALL)


class RestrictedPickleError(FormatError, pickle.UnpicklingError):
    """A pickle is damaged, asks for a class or function that is not allowed, or exceeds a limit."""


class Global:
    """A class or function that a pickle names; it can be called with plain arguments and nothing else."""

    __slots__ = ("function", "name")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name, self.function = name, function


class Pending:
    """An object whose state follows in the pickle.

    Attributes:
        built: The object that takes its place once the state is known.
    """

    __slots__ = ("built",)
    __hash__ = None  # type: ignore[assignment]  # never a key

    def __init__(self) -> None:
        self.built: Any = None

    def build(self, state: Any) -> Any:
        """Return the object that a state describes; any exception means a damaged pickle."""
        raise NotImplementedError


class PickleMachine:
    """Load the pickles that follow each other in ``data``.

    Args:
        data: One pickle or several.
        find: (module, name) to a function that may be called, or to the object that the name stands for; None refuses.
        refusal: End of the message about a refused name: ``the pickle asks for 'module.name', which {refusal}``.
        persistent_load: Called with the id of a persistent object; None refuses such ids.
        max_memory_bytes: Bound for the estimated size of all objects together.
    """

    def __init__(
        self,
        data: bytes,
        find: Callable[[str, str], Any],
        *,
        refusal: str,
        persistent_load: Callable[[Any], Any] | None,
        max_memory_bytes: int,
    ) -> None:
        self.data, self.position = data, 0
        self.stack: list[Any] = []
        self._outer_stacks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._find, self._refusal, self._persistent_load = find, refusal, persistent_load
        self._max_memory_bytes = self._left_bytes = max_memory_bytes

    def load(self) -> Any:
        """Load the next pickle; any exception means that it is damaged or refused."""
        try:
            return self._run()
        finally:  # or an error's traceback would keep alive what a refused pickle has made so far
            self.stack, self._outer_stacks, self._memo = [], [], {}

    def _run(self) -> Any:
        data, handlers = self.data, _HANDLERS
        for _ in range(self._max_memory_bytes // _OPCODE_BYTES):
            opcode = data[self.position]
            self.position += 1
            if opcode == _MEMOIZE:  # every third opcode
                self._memo[len(self._memo)] = self.stack[-1]
            elif opcode == _STOP:
                return self.stack.pop()
            else:
                handlers[opcode](self)
        raise self._too_large()

    def spend(self, num_bytes: int) -> None:
        """Count memory, and refuse what exceeds the bound."""
        self._left_bytes -= num_bytes
        if self._left_bytes < 0:
            raise self._too_large()

    def _too_large(self) -> RestrictedPickleError:
        return RestrictedPickleError(f"its objects would take more than {self._max_memory_bytes:,} bytes")

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes of the pickle."""
        start, end = self.position, self.position + size
        if size < 0 or end > len(self.data):
            raise RestrictedPickleError(f"it is cut off: {size} bytes at {start}, {len(self.data) - start} are left")
        self.position = end
        return self.data[start:end]

    def take_sized(self, size_bytes: int) -> bytes:
        """Return the bytes behind a size of ``size_bytes`` bytes."""
        return self.take(int.from_bytes(self.take(size_bytes), "little"))

    def take_line(self) -> bytes:
        """Return the rest of the line."""
        start, end = self.position, self.data.index(b"\n", self.position)
        self.position = end + 1
        return self.data[start:end]

    def push(self, value: Any) -> None:
        """Push a value and count its size."""
        self.spend(_size_bytes(value))
        self.stack.append(value)

    def push_text(self, raw: bytes, encoding: str = "utf-8") -> None:
        """Push text; lone surrogates pass, as in Python's strings."""
        self.stack.append(raw.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict"))

    def push_short_text(self) -> None:
        """Push text of at most 255 bytes."""
        start = self.position + 1
        self.position = end = start + self.data[start - 1]
        self.stack.append(self.data[start:end].decode("utf-8", "surrogatepass"))  # a cut end fails at the next opcode

    def mark(self) -> None:
        """Open a stack; a run of numbers and text is read by the standard library, which is 30 times as fast."""
        self._outer_stacks.append(self.stack)
        self.stack = []
        data, at = self.data, self.position
        if _BEFORE_ITEMS.search(data[max(0, at - 4) : at - 1]) and (run := _PLAIN_RUN.match(data, at)):
            self.spend(_RUN_BYTES * len(run[0]))
            self.position = run.end()
            self.stack = pickle.loads(b"\x80\x04(" + run[0] + b"l.")  # noqa: S301 numbers and text, by the pattern
            texts = [value for value in self.stack if type(value) is str]
            self._memo.update(enumerate(texts, len(self._memo)))

    def pop_mark(self) -> list[Any]:
        """Close the stack opened last and return what is on it."""
        items, self.stack = self.stack, self._outer_stacks.pop()
        return items

    def pop_many(self, count: int) -> tuple[Any, ...]:
        """Return the last ``count`` values."""
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        if len(items) < count:
            raise IndexError("the stack is empty")
        return items

    def append(self, items: Iterable[Any]) -> None:
        """Append to the list on the stack."""
        if type(self.stack[-1]) is not list:
            raise RestrictedPickleError(f"it appends to an object of type {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Set keys and values, in turns, of the dictionary on the stack."""
        mapping = self.stack[-1]
        if not isinstance(mapping, dict):
            raise RestrictedPickleError(f"it sets items of an object of type {type(mapping).__name__}")
        self.spend(_ITEM_BYTES * (len(items) // 2))
        mapping.update(zip(map(checked_key, items[::2]), items[1::2], strict=True))

    def push_byte(self) -> None:
        """Push a number below 256."""
        self.stack.append(self.data[self.position])
        self.position += 1

    def push_dict(self) -> None:
        """Push a dictionary of what stands above the mark."""
        items = self.pop_mark()
        self.push({})
        self.set_items(items)

    def add_items(self, items: list[Any]) -> None:
        """Add to the set on the stack."""
        if type(self.stack[-1]) is not set:
            raise RestrictedPickleError(f"it adds to an object of type {type(self.stack[-1]).__name__}")
        self.spend(_ITEM_BYTES * len(items))
        self.stack[-1].update(map(checked_key, items))

    def memoize(self, index: int) -> None:
        """Remember the last value."""
        self._memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        """Push what has been remembered."""
        value = self._memo[index]
        if isinstance(value, Pending) and value.built is not None:
            value = value.built
        self.stack.append(value)

    def find(self, module: str, name: str) -> None:
        """Push what a name stands for."""
        if module == "__builtin__":  # protocols 0 to 2 write the names of Python 2
            module, name = "builtins", "range" if name == "xrange" else name
        found = self._find(module, name) if isinstance(module, str) and isinstance(name, str) else None
        if found is None:
            raise RestrictedPickleError(f"the pickle asks for '{_printable(module, name)}', which {self._refusal}")
        is_function = callable(found) and type(found) is not Global
        self.stack.append(Global(f"{module}.{name}", found) if is_function else found)

    def call(self) -> None:
        """Call a function of the table."""
        function, arguments = self.pop_many(2)
        if type(function) is not Global or type(arguments) is not tuple:
            raise RestrictedPickleError(f"it calls an object of type {type(function).__name__}")
        self.spend(sum(map(_size_bytes, arguments)))  # what a function keeps of them, it may copy
        self.push(function.function(*arguments))

    def build(self) -> None:
        """Set the state of the last value."""
        pending, state = self.pop_many(2)
        if type(pending) is OrderedDict and type(state) is dict and list(state) == ["_metadata"]:
            pending._metadata = state["_metadata"]  # type: ignore[attr-defined]  # versions, in torch's state dicts
            self.stack.append(pending)
            return
        if not isinstance(pending, Pending):
            raise RestrictedPickleError(f"it sets the state of an object of type {type(pending).__name__}")
        pending.built = pending.build(state)
        self.push(pending.built)

    def load_persistent(self) -> None:
        """Push a persistent object."""
        if self._persistent_load is None:
            raise RestrictedPickleError("it refers to objects outside of itself")
        self.push(self._persistent_load(self.stack.pop()))


def checked_key(key: Any) -> Any:
    """Return a key of a dictionary or set.

    Raises:
        RestrictedPickleError: It consists of so many nested tuples that hashing it exhausts the stack or the time.
    """
    if type(key) is not tuple:
        return key
    level = [key]
    for _ in range(_MAX_KEY_DEPTH):
        if not level:
            return key
        if sum(map(len, level)) > _MAX_KEY_PARTS:
            break
        level = [part for parent in level for part in parent if type(part) is tuple]
    raise RestrictedPickleError(
        f"a key is nested deeper than {_MAX_KEY_DEPTH} tuples or has more than {_MAX_KEY_PARTS:,} parts"
    )


def _size_bytes(value: Any) -> int:
    size = getattr(value, "nbytes", None)  # of arrays and tensors
    return size if type(size) is int else sys.getsizeof(value) + _PLACE_BYTES


def _printable(module: object, name: object) -> str:
    return ascii(f"{module}.{name}")[1:-1][:100]


def _integer_line(machine: PickleMachine) -> int | bool:
    line = machine.take_line()
    return line == b"01" if line in (b"00", b"01") else int(line)


def _long(raw: bytes) -> int:
    return int.from_bytes(raw, "little", signed=True)


def _quoted(line: bytes) -> bytes:
    """Bytes as Python 2 wrote them: between quotes, with escapes."""
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
        raise RestrictedPickleError("text without quotes")
    return bytes(codecs.escape_decode(line[1:-1])[0])  # type: ignore[attr-defined]


def _size(machine: PickleMachine, num_bytes: int) -> int:
    return int.from_bytes(machine.take(num_bytes), "little")


_Handler = Callable[[PickleMachine], Any]
_HANDLERS: dict[int, _Handler] = {
    code[0]: handler
    for code, handler in {
        b"\x80": lambda m: m.take(1),  # PROTO
        b"\x95": lambda m: m.take(8),  # FRAME
        b"(": PickleMachine.mark,
        b"0": lambda m: m.stack.pop() if m.stack else m.pop_mark(),
        b"1": PickleMachine.pop_mark,
        b"2": lambda m: m.stack.append(m.stack[-1]),
        b"N": lambda m: m.stack.append(None),
        b"\x88": lambda m: m.stack.append(True),
        b"\x89": lambda m: m.stack.append(False),
        b"I": lambda m: m.stack.append(_integer_line(m)),
        b"L": lambda m: m.stack.append(int(m.take_line().removesuffix(b"L"))),
        b"J": lambda m: m.stack.append(_long(m.take(4))),
        b"K": PickleMachine.push_byte,
        b"M": lambda m: m.stack.append(_size(m, 2)),
        b"\x8a": lambda m: m.stack.append(_long(m.take_sized(1))),
        b"\x8b": lambda m: m.stack.append(_long(m.take_sized(4))),
        b"F": lambda m: m.stack.append(float(m.take_line())),
        b"G": lambda m: m.stack.append(struct.unpack(">d", m.take(8))[0]),
        b"S": lambda m: m.push_text(_quoted(m.take_line()), "latin-1"),
        b"T": lambda m: m.push_text(m.take_sized(4), "latin-1"),
        b"U": lambda m: m.push_text(m.take_sized(1), "latin-1"),
        b"V": lambda m: m.push_text(m.take_line(), "raw-unicode-escape"),
        b"X": lambda m: m.push_text(m.take_sized(4)),
        b"\x8c": PickleMachine.push_short_text,
        b"\x8d": lambda m: m.push_text(m.take_sized(8)),
        b"B": lambda m: m.stack.append(m.take_sized(4)),
        b"C": lambda m: m.stack.append(m.take_sized(1)),
        b"\x8e": lambda m: m.stack.append(m.take_sized(8)),
        b"\x96": lambda m: m.stack.append(bytearray(m.take_sized(8))),
        b"]": lambda m: m.stack.append([]),
        b"l": lambda m: m.push(m.pop_mark()),
        b"a": lambda m: m.append(m.pop_many(1)),
        b"e": lambda m: m.append(m.pop_mark()),
        b"}": lambda m: m.stack.append({}),
        b"d": PickleMachine.push_dict,
        b"s": lambda m: m.set_items(list(m.pop_many(2))),
        b"u": lambda m: m.set_items(m.pop_mark()),
        b"\x8f": lambda m: m.push(set()),
        b"\x90": lambda m: m.add_items(m.pop_mark()),
        b"\x91": lambda m: m.push(frozenset(map(checked_key, m.pop_mark()))),
        b")": lambda m: m.stack.append(()),
        b"\x85": lambda m: m.stack.append(m.pop_many(1)),
        b"\x86": lambda m: m.stack.append(m.pop_many(2)),
        b"\x87": lambda m: m.stack.append(m.pop_many(3)),
        b"t": lambda m: m.push(tuple(m.pop_mark())),
        b"p": lambda m: m.memoize(int(m.take_line())),
        b"q": lambda m: m.memoize(m.take(1)[0]),
        b"r": lambda m: m.memoize(_size(m, 4)),
        b"g": lambda m: m.recall(int(m.take_line())),
        b"h": lambda m: m.recall(m.take(1)[0]),
        b"j": lambda m: m.recall(_size(m, 4)),
        b"c": lambda m: m.find(m.take_line().decode(), m.take_line().decode()),
        b"\x93": lambda m: m.find(*m.pop_many(2)),
        b"R": PickleMachine.call,
        b"\x81": PickleMachine.call,
        b"b": PickleMachine.build,
        b"Q": PickleMachine.load_persistent,
    }.items()
}
