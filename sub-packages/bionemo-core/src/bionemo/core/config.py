# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""One declaration per setting: a field of a frozen dataclass is its flag, its YAML key and its record in a run.

A config is ``@dataclass(frozen=True, kw_only=True)`` with fields of plain values, each declared by :func:`option`::

    lr: float = option(4e-4, help="Peak learning rate, after warmup_steps optimizer steps.")

Types may be ``int``, ``float``, ``str``, ``bool``, ``Path``, ``Literal[...]``, unions of these, ``... | None``, and
``tuple[X, ...]`` or ``list[X]``. Only the standard library is imported; PyYAML comes in where a YAML file does.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bionemo.core.config_fields import ConfigField, closest, config_fields
from bionemo.core.errors import ConfigError, MissingFileError
from bionemo.core.exclusive_settings import exclusive_pairs, holds, is_set, spelled, without_overridden


ConfigT = TypeVar("ConfigT")

_EXPLICIT = "_explicit_fields"


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    flag: str | None = None,
    aliases: Sequence[str] = (),
    negative_aliases: Sequence[str] = (),
    choices: Sequence[Any] | None = None,
    positional: bool = False,
    group: str | None = None,
) -> Any:
    """Declare one setting of a config.

    Args:
        default: Value when neither flag nor YAML key is given; without it the setting is required.
        help: What it does, with its unit; the default is added.
        flag: Another spelling than ``--field-name``.
        aliases: Further spellings of the flag, for example ``("--max-steps",)``.
        negative_aliases: For a bool: spellings that switch it off, beside ``--no-field-name``.
        choices: Allowed values, where ``Literal`` does not say it.
        positional: Whether it is given by place instead of by a flag.
        group: Heading under which ``--help`` lists it.
    """
    metadata = {
        "help": help,
        "flag": flag,
        "aliases": tuple(aliases),
        "negative_aliases": tuple(negative_aliases),
        "choices": None if choices is None else tuple(choices),
        "positional": positional,
        "group": group,
        "declaration": object(),  # the same wherever option_like takes it over
    }
    return _field(default, metadata)


def option_like(config_class: type, name: str, default: Any = dataclasses.MISSING, *, group: str | None = None) -> Any:
    """Declare a setting that another config declares already: the same flag, aliases and help.

    Args:
        config_class: The config, or the group of flags, that declares it.
        name: Its name there and here.
        default: Value when it is not given; without it the setting is required.
        group: Heading under which ``--help`` lists it; that of ``config_class`` unless given.

    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class SlowConfig:
    ...     lr: float = option(4e-4, help="Peak learning rate.")
    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class FastConfig:
    ...     lr: float = option_like(SlowConfig, "lr", 1e-2)
    >>> FastConfig().lr
    0.01
    """
    (declared,) = (field for field in dataclasses.fields(config_class) if field.name == name)
    return _field(default, declared.metadata if group is None else {**declared.metadata, "group": group})


def _field(default: Any, metadata: Mapping[str, Any]) -> Any:
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def parse(
    config_class: type[ConfigT],
    argv: Sequence[str] | None = None,
    *,
    prog: str | None = None,
    description: str | None = None,
    example: str | None = None,
) -> ConfigT:
    """Build a config from flags, and from ``--config FILE.yaml`` for what the flags leave open.

    A flag also wins over settings of the file that it excludes (`bionemo.core.exclusive_settings`).

    Args:
        config_class: The dataclass to build.
        argv: Arguments without the program's name; those of this process unless given.
        prog: Name of the command in ``--help``.
        description: Text of ``--help``; the first paragraph of the class's docstring unless given.
        example: A command line that ``--help`` shows at its end.

    Raises:
        ConfigError: An unknown flag or key, a wrong value, a missing one, or two spellings that contradict each other.
        MissingFileError: The YAML file does not exist.
        SystemExit: After ``--help`` and ``--version``.
    """
    from bionemo.core._config_parser import parse_flags

    flags, yaml_path = parse_flags(config_class, argv, prog=prog, description=description, example=example)
    settings = {} if yaml_path is None else _read_yaml(config_class, yaml_path)
    settings = without_overridden(config_class, settings, flags, f"--config {yaml_path}")
    explicit = _differing(config_class, settings) | frozenset(flags)
    config: ConfigT = _build(config_class, settings | flags, explicit)
    return config


def from_mapping(config_class: type[ConfigT], mapping: Mapping[str, Any], *, source: str = "mapping") -> ConfigT:
    """Build a config from field names and values, as YAML or JSON gives them.

    Args:
        config_class: The dataclass to build.
        mapping: Field name to value; missing fields take their defaults.
        source: What to name in errors, usually the file.

    Raises:
        ConfigError: An unknown key, a value of another type, or a missing required field.
    """
    settings = _check_mapping(config_class, mapping, source)
    config: ConfigT = _build(config_class, settings, _differing(config_class, settings))
    return config


def to_yaml(config: Any) -> str:
    """Write a config as YAML text that ``--config`` and :func:`from_mapping` read back to an equal config."""
    import yaml

    return str(yaml.safe_dump(to_mapping(config), sort_keys=False, allow_unicode=True))


def to_mapping(config: Any) -> dict[str, Any]:
    """Turn a config into plain values: paths become strings, tuples lists."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def explicit_fields(config: Any) -> frozenset[str]:
    """Names of the fields that the user set: by a flag, or in YAML to something else than the default.

    Empty for configs that were built directly. Lets a command refuse two flags that exclude each other.
    """
    return getattr(config, _EXPLICIT, frozenset())


def given_fields(config: Any) -> frozenset[str]:
    """Names of the explicit fields that set something: their value is neither None, an empty list nor False."""
    return frozenset(name for name in explicit_fields(config) if is_set(getattr(config, name)))


def changed(config: ConfigT, **changes: Any) -> ConfigT:
    """Return a copy with other values, which remembers what the user set; ``dataclasses.replace`` forgets it."""
    copy: ConfigT = dataclasses.replace(config, **changes)  # type: ignore[type-var]
    object.__setattr__(copy, _EXPLICIT, explicit_fields(config))
    return copy


def check_exclusive(config: Any) -> None:
    """Refuse settings that exclude each other, see `bionemo.core.exclusive_settings`; only what the user set counts.

    Raises:
        ConfigError: The message names both flags.
    """
    given = {name: getattr(config, name) for name in explicit_fields(config)}
    for one, other in exclusive_pairs(type(config)):
        if holds(one, given) and holds(other, given):
            raise ConfigError(f"{spelled(one)} and {spelled(other)} contradict each other; give one of them.")


def _build(config_class: type, settings: Mapping[str, Any], explicit: frozenset[str]) -> Any:
    missing = [
        field.spelling for field in config_fields(config_class) if field.required and field.name not in settings
    ]
    if missing:
        raise ConfigError(f"{', '.join(missing)}: required, but not given. See --help.")
    config = config_class(**settings)
    object.__setattr__(config, _EXPLICIT, explicit)
    return config


def _read_yaml(config_class: type, path: Path) -> dict[str, Any]:
    import yaml

    from bionemo.core._unique_keys_yaml import load_yaml

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingFileError(f"--config {path}: no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path}: cannot be read as UTF-8 text: {error}.") from error
    try:
        content = load_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        raise ConfigError(f"--config {path}{place}: not valid YAML: {problem}.") from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"--config {path}: expected a mapping of setting names to values, found {type(content).__name__}."
        )
    return _check_mapping(config_class, content, f"--config {path}")


def _check_mapping(config_class: type, mapping: Mapping[Any, Any], source: str) -> dict[str, Any]:
    fields: dict[str, ConfigField] = {key: field for field in config_fields(config_class) for key in field.keys}
    settings: dict[str, Any] = {}
    keys: dict[str, Any] = {}
    for key, value in mapping.items():
        if key not in fields:
            raise ConfigError(
                f"{source}: unknown key {key!r}.{closest(str(key).lstrip('-').replace('-', '_'), fields)}"
            )
        name = fields[key].name
        try:
            setting = fields[key].from_value(value)
        except ValueError as error:
            raise ConfigError(f"{source}: key {key!r}: {error}") from None
        if settings.setdefault(name, setting) != setting:
            raise ConfigError(f"{source}: keys {keys[name]!r} and {key!r} contradict each other. Give one of them.")
        keys[name] = key
    return settings


def _differing(config_class: type, settings: Mapping[str, Any]) -> frozenset[str]:
    defaults = {field.name: field.default for field in config_fields(config_class)}
    return frozenset(name for name, value in settings.items() if value != defaults[name])


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
