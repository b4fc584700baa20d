# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings that exclude each other: refused where both are given, but a flag wins over a YAML file.

A config class declares them as ``exclusive``, a class variable of pairs (one, others). ``one`` is a field that is
switched on or given, or a field with a value, as ``"pack=False"``::

    exclusive: ClassVar[Exclusive] = (("tokens_per_batch", ("micro_batch_size",)),)
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from bionemo.core.config_fields import config_fields


logger = logging.getLogger(__name__)

Exclusive = tuple[tuple[str, tuple[str, ...]], ...]


def exclusive_pairs(config_class: type) -> Iterator[tuple[str, str]]:
    """Iterate over the pairs of conditions that a config class declares."""
    declared: Exclusive = getattr(config_class, "exclusive", ())
    for one, others in declared:
        for other in others:
            yield one, other


def holds(condition: str, settings: Mapping[str, Any]) -> bool:
    """Return whether settings fulfill a condition.

    >>> holds("folds", {"folds": 5}), holds("folds", {"folds": None}), holds("pack=False", {"pack": False})
    (True, False, True)
    """
    name, _, value = condition.partition("=")
    return name in settings and (str(settings[name]) == value if value else bool(settings[name]))


def spelled(condition: str) -> str:
    """Spell a condition as the flag that gives it.

    >>> spelled("folds"), spelled("pack=False"), spelled("format=store")
    ('--folds', '--no-pack', '--format store')
    """
    name, _, value = condition.replace("_", "-").partition("=")
    if value in ("False", "True"):
        return f"--{'no-' if value == 'False' else ''}{name}"
    return f"--{name} {value}".rstrip()


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
            if holds(winner, flags) and "=" not in loser and loser not in flags and holds(loser, settings):
                if settings.pop(loser) != defaults[loser]:
                    logger.warning("%s: %s is not used, because %s was given", source, loser, spelled(winner))
    return settings
