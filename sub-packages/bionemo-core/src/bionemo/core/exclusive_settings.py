# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings that exclude each other: refused where both are given, but a flag wins over a YAML file.

A config class declares them as ``exclusive``, a class variable of pairs (one, others). Each is a field that is given,
whatever its value (see :func:`is_set`), one that is, or holds, a value (``"pack=False"``), or one above a number
(``"num_gpus>1"``; ``"num_frozen_layers>0"`` where 0 is the same as not given)::

    exclusive: ClassVar[Exclusive] = (("tokens_per_batch", ("micro_batch_size",)),)
"""

import functools
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from bionemo.core.config_fields import config_fields


logger = logging.getLogger(__name__)

Exclusive = tuple[tuple[str, tuple[str, ...]], ...]

_PARTS = re.compile("([=>])")


def exclusive_pairs(config_class: type) -> Iterator[tuple[str, str]]:
    """Iterate over the pairs of conditions that a config class declares."""
    declared: Exclusive = getattr(config_class, "exclusive", ())
    for one, others in declared:
        for other in others:
            yield one, other


def is_set(value: Any) -> bool:
    """Return whether a value that was given sets something: None, an empty list and a switch that is off do not.

    >>> is_set(0), is_set(""), is_set(None), is_set(()), is_set(False)
    (True, True, False, False, False)
    """
    return value is not None and value is not False and value not in ((), [])


def holds(condition: str, settings: Mapping[str, Any]) -> bool:
    """Return whether settings fulfill a condition.

    >>> holds("folds", {"folds": 5}), holds("folds", {"folds": None}), holds("pack=False", {"pack": False})
    (True, False, True)
    >>> holds("size>1", {"size": 2}), holds("size>1", {"size": 1})
    (True, False)
    """
    name, relation, value = _parts(condition)
    given: Any = settings.get(name)
    if relation == "=":
        values = given if isinstance(given, (tuple, list)) else [given]
        return name in settings and value in map(str, values)
    return is_set(given) and (not relation or given > int(value))


def spelled(condition: str) -> str:
    """Spell a condition as the flag that gives it.

    >>> spelled("folds"), spelled("pack=False"), spelled("format=store"), spelled("size>1")
    ('--folds', '--no-pack', '--format store', '--size')
    """
    name, _, value = condition.partition("=")
    flag = field_of(name).replace("_", "-")
    if value in ("False", "True"):
        return f"--{'no-' if value == 'False' else ''}{flag}"
    return f"--{flag} {value}".rstrip()


def field_of(condition: str) -> str:
    """Return the name of the field that a condition is about."""
    return _parts(condition)[0]


@functools.cache
def _parts(condition: str) -> tuple[str, str, str]:
    """Split a condition into field, relation and value; the last two are empty where it is a field alone."""
    name, relation, value = [*_PARTS.split(condition), "", ""][:3]
    return name, relation, value


def without_overridden(
    config_class: type, from_yaml: Mapping[str, Any], flags: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """Drop what a YAML file gives and a flag excludes; where it is no default, a warning names both.

    Args:
        config_class: Declares what excludes what.
        from_yaml: Field name to value.
        flags: Field name to value.
        source: What to call the file.

    Returns:
        The settings of the file that count.
    """
    settings = dict(from_yaml)
    defaults = {field.name: field.default for field in config_fields(config_class)}
    for pair in exclusive_pairs(config_class):
        for winner, loser in (pair, pair[::-1]):
            name = field_of(loser)
            if name not in settings or name in flags or not holds(winner, flags):
                continue
            if name == loser or holds(loser, settings):
                if settings.pop(name) != defaults[name]:
                    logger.warning("%s: %s is not used, because %s was given", source, name, spelled(winner))
    return settings
