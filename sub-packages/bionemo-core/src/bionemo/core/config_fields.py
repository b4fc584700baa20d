# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a config's field accepts, as text from a flag and as a value from YAML."""

import dataclasses
import difflib
import functools
import math
import re
import reprlib
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal


_EXPONENT_WITHOUT_DOT = re.compile(r"[+-]?\d+[eE][+-]?\d+")  # YAML 1.1 reads 4e-4 as text
_SCALARS = (bool, int, float, Path, str)  # in the order in which a text is tried
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path", str: "text"}
_NONE_WORDS = ("None", "none", "null")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConfigField:
    """One field of a config with all that parsing needs to know of it."""

    name: str
    help: str
    flags: tuple[str, ...]
    negative_flags: tuple[str, ...]
    types: tuple[type, ...]  # any value of these is taken
    choices: tuple[Any, ...]  # and these
    allows_none: bool
    container: type | None  # tuple or list where the field holds several values
    default: Any  # dataclasses.MISSING where the field is required
    positional: bool
    group: str | None

    @property
    def required(self) -> bool:
        """Whether the user must give a value."""
        return self.default is dataclasses.MISSING

    @property
    def is_switch(self) -> bool:
        """Whether it is a bool with a positive and a negative flag."""
        return self.types == (bool,) and self.container is None

    @property
    def keys(self) -> tuple[str, ...]:
        """Its names in YAML: the field's, and every positive spelling of its flag with ``_`` for ``-``."""
        spellings = [] if self.positional else [flag[2:].replace("-", "_") for flag in self.flags]
        return tuple(dict.fromkeys([self.name, *spellings]))

    @property
    def spelling(self) -> str:
        """How a message names it: the first flag, or the name in capitals where it is given by place."""
        return self.name.upper() if self.positional else self.flags[0]

    @property
    def expected(self) -> str:
        """What it accepts, in words."""
        words = ["one of " + ", ".join(map(str, self.choices))] if self.choices else []
        words += [_WORDS[kind] for kind in self.types]
        text = " or ".join([*words, *(["None"] if self.allows_none else [])])
        return f"a list, each {text}" if self.container else text

    def from_text(self, text: str) -> Any:
        """Read one value (of a list: one of its items) from the command line; ValueError says what was expected."""
        for choice in self.choices:
            if text == str(choice):
                return choice
        if self.allows_none and text in _NONE_WORDS:
            return None
        for kind in self.types:
            value = _scalar_from_text(kind, text)
            if value is not None:
                return value
        raise ValueError(f"expected {self.expected}, got {text!r}.{closest(text, map(str, self.choices))}")

    def from_value(self, value: Any) -> Any:
        """Check a value that YAML or JSON gave; ValueError says what was expected."""
        if self.container is not None and isinstance(value, (list, tuple)):
            return self.container(self._one_from_value(item) for item in value)
        if self.allows_none and (value is None or value in _NONE_WORDS):
            return None
        if self.container is not None and self.types == (Path,) and isinstance(value, (str, Path)):
            return self.container([Path(value)])  # one path where several may stand
        if self.container is not None:
            raise ValueError(f"expected {self.expected}, got {shown(value)}.")
        return self._one_from_value(value)

    def _one_from_value(self, value: Any) -> Any:
        for choice in self.choices:
            if type(value) is type(choice) and value == choice:
                return choice
            if type(value) is int and str(value) == choice:  # precision: 16, where the flag's choice is the text "16"
                return choice
        for kind in self.types:
            if kind is Path and isinstance(value, (str, Path)):
                return Path(value)
            if kind is float and not isinstance(value, bool):
                number = _finite(value if isinstance(value, (int, float)) else _exponent(value))
                if number is not None:
                    return number
            elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
                return value
        hint = closest(str(value), map(str, self.choices)) if isinstance(value, (str, int, float)) else ""
        raise ValueError(f"expected {self.expected}, got {shown(value)}.{hint}")


def shown(value: Any) -> str:
    """Return a value as messages show it: shortened, so that nested aliases of YAML cannot fill the memory."""
    shortened = reprlib.Repr()
    shortened.maxlevel, shortened.maxlist, shortened.maxdict = 2, 6, 6
    shortened.maxstring = shortened.maxlong = shortened.maxother = 120
    return shortened.repr(value)


def closest(word: str, known: Iterable[str]) -> str:
    """A sentence, after a space, that proposes the known word most like an unknown one; empty where none is near."""
    match = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {match[0]}?" if match else ""


@functools.lru_cache(maxsize=32)
def config_fields(config_class: type) -> tuple[ConfigField, ...]:
    """Describe the fields of a config dataclass, in their order; those it inherits come after its own.

    Raises:
        TypeError: A field's type is none of those that a config may have.
    """
    hints = typing.get_type_hints(config_class)
    bases = [base for base in config_class.__mro__[1:] if dataclasses.is_dataclass(base)]
    inherited = {field.name for base in bases for field in dataclasses.fields(base)}
    fields = sorted(dataclasses.fields(config_class), key=lambda field: field.name in inherited)
    return tuple(_describe(field, hints[field.name]) for field in fields if field.init)


def _describe(field: "dataclasses.Field[Any]", hint: Any) -> ConfigField:
    metadata = field.metadata
    members, allows_none = _without_none(hint)
    container: type | None = None
    if len(members) == 1 and typing.get_origin(members[0]) in (tuple, list):
        container = typing.get_origin(members[0])
        members, _ = _without_none(typing.get_args(members[0])[0])
    kinds = [member for member in members if typing.get_origin(member) is not Literal]
    literals = [value for member in members if member not in kinds for value in typing.get_args(member)]
    choices = metadata.get("choices") or tuple(literals)
    if not set(kinds) <= set(_SCALARS) or not (kinds or literals):
        raise TypeError(f"Config field {field.name!r}: type {hint!r} cannot be given as a flag or in YAML.")
    default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    flag = metadata.get("flag") or "--" + field.name.replace("_", "-")
    is_switch = kinds == [bool] and container is None
    negative = (f"--no-{flag[2:]}", *metadata.get("negative_aliases", ())) if is_switch else ()
    return ConfigField(
        name=field.name,
        help=metadata.get("help", ""),
        flags=(flag, *metadata.get("aliases", ())),
        negative_flags=negative,
        types=() if metadata.get("choices") else tuple(kind for kind in _SCALARS if kind in kinds),
        choices=choices,
        allows_none=allows_none,
        container=container,
        default=default,
        positional=metadata.get("positional", False),
        group=metadata.get("group"),
    )


def _without_none(hint: Any) -> tuple[list[Any], bool]:
    members = [hint]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = list(typing.get_args(hint))
    return [member for member in members if member is not type(None)], type(None) in members


def _scalar_from_text(kind: type, text: str) -> Any:
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower())
    if kind in (Path, str):
        return kind(text)
    try:
        number = kind(text)
    except ValueError:
        return None
    return None if kind is float and not math.isfinite(number) else number


def _finite(number: int | float | None) -> float | None:
    if number is None:
        return None
    try:
        return float(number) if math.isfinite(number) else None
    except OverflowError:  # a whole number above all floats
        return None


def _exponent(value: Any) -> float | None:
    return float(value) if isinstance(value, str) and _EXPONENT_WITHOUT_DOT.fullmatch(value) else None
