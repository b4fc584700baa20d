# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""JSON of checkpoints that other people made: each value is checked before it is used, each fault is one line."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bionemo.core.errors import CheckpointError


MAX_JSON_BYTES = 64 << 20
"""Largest JSON file that is read: the index of the largest published model has 0.2 MB."""
MAX_SIZE = 1 << 24
"""Largest number of layers, hidden units, heads or tokens that a config may ask for."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a checkpoint.

    Raises:
        CheckpointError: The file is missing or is no JSON object.
    """
    try:
        if (size_bytes := path.stat().st_size) > MAX_JSON_BYTES:
            raise CheckpointError(f"{path}: {size_bytes} bytes, expected at most {MAX_JSON_BYTES} of JSON.")
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            f"{path}: no such file. Expected a checkpoint directory in Hugging Face layout."
        ) from error
    except RecursionError as error:
        raise CheckpointError(f"{path}: cannot be read as JSON (nested too deeply).") from error
    except (OSError, ValueError) as error:  # also what no UTF-8 and what no JSON is
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}).") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: holds a {type(values).__name__}, expected a JSON object.")
    return values


class ConfigValues:
    """Settings of a model, for example a ``config.json``, each of the type that is asked for.

    Args:
        values: The JSON object.
        source: The checkpoint, for messages.
        file: What holds the values, for messages.
    """

    def __init__(self, values: Mapping[str, Any], source: str, *, file: str = "config.json") -> None:
        self.values, self.source, self.file = values, source, file

    def size(self, key: str, default: int | None = None) -> int:
        """Return a whole number above zero.

        Raises:
            CheckpointError: It is missing without a default, or something else.
        """
        value = self._value(key, default)
        if type(value) is not int or not 0 < value <= MAX_SIZE:
            raise self._wrong(key, value, f"a whole number from 1 to {MAX_SIZE}")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        """Return a whole number, zero or more; see :meth:`size`."""
        value = self._value(key, default)
        if type(value) is not int or not 0 <= value <= MAX_SIZE:
            raise self._wrong(key, value, f"a whole number from 0 to {MAX_SIZE}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a finite number, zero or more; see :meth:`size`."""
        value = self._value(key, default)
        if type(value) not in (int, float) or not 0 <= value < math.inf:
            raise self._wrong(key, value, "a finite number, zero or more")
        return float(value)

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Return true or false; see :meth:`size`."""
        value = self._value(key, default)
        if type(value) is not bool:
            raise self._wrong(key, value, "true or false")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text; see :meth:`size`."""
        value = self._value(key, default)
        if type(value) is not str:
            raise self._wrong(key, value, "a text")
        return value

    def architecture(self) -> str:
        """Return the name of transformers' class that saved the model, or an empty text."""
        names = self.values.get("architectures")
        return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""

    def _value(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise CheckpointError(f"{self.source}: {self.file} lacks {key!r}.")
        return value

    def _wrong(self, key: str, value: Any, expected: str) -> CheckpointError:
        shown = repr(value) if len(repr(value)) <= 60 else f"a {type(value).__name__}"
        return CheckpointError(f"{self.source}: {self.file} says {key} {shown}, expected {expected}.")
