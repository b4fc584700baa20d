# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command line of a config dataclass."""

import argparse
import inspect
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from bionemo.core.config_fields import ConfigField, closest, config_fields
from bionemo.core.errors import ConfigError


_METAVARS = {int: "N", float: "X", Path: "PATH", str: "TEXT", bool: "BOOL"}


def build_parser(
    config_class: type, *, prog: str | None = None, description: str | None = None, example: str | None = None
) -> "ConfigArgumentParser":
    """Build the parser of a config: its flags, ``--config FILE.yaml``, ``--debug`` and ``--version``.

    What is not given stays out of the namespace, so that the caller can tell what the user set.
    """
    text = description or (inspect.getdoc(config_class) or "").split("\n\n")[0]
    parser = ConfigArgumentParser(
        prog=prog,
        description=text.replace("%", "%%"),
        epilog=None if example is None else f"Example:\n{textwrap.indent(example, '  ')}".replace("%", "%%"),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=_HelpFormatter,
        add_help=False,
    )
    groups: dict[str | None, argparse._ArgumentGroup] = {}
    for field in config_fields(config_class):
        if field.group not in groups:
            groups[field.group] = parser.add_argument_group(field.group or "settings")
        _add_field(groups[field.group], field)
    common = parser.add_argument_group("every command")
    common.add_argument(
        "--config",
        type=Path,
        metavar="FILE.yaml",
        help="Read settings from a YAML file: keys are the flags above without --, _ for -. Flags given win.",
    )
    if "debug" not in {field.name for field in config_fields(config_class)}:
        common.add_argument("--debug", action="store_true", help="Show the traceback of an error and log in detail.")
    common.add_argument(
        "--version", action=_ShowVersion, const=distribution_of(config_class), help="Print the version and exit."
    )
    common.add_argument("-h", "--help", action="help", help="Print this text and exit.")
    return parser


def parse_flags(
    config_class: type,
    argv: Sequence[str] | None,
    *,
    prog: str | None = None,
    description: str | None = None,
    example: str | None = None,
) -> tuple[dict[str, Any], Path | None]:
    """Read the command line; returns what was given by field name, and the YAML file to read besides.

    Raises:
        ConfigError: An unknown flag, a wrong value, or two spellings of one setting that contradict each other.
    """
    parser = build_parser(config_class, prog=prog, description=description, example=example)
    namespace, unknown = parser.parse_known_args(argv)
    if unknown:
        flag = unknown[0].split("=")[0]
        found = "no such flag" if flag.startswith("-") else "unexpected argument"
        raise ConfigError(f"{flag}: {found}.{closest(flag, parser.flags)} See --help.")
    given = vars(namespace).get("_spellings", {})
    return {name: value for name, (_, value) in given.items()}, vars(namespace).get("config")


class ConfigArgumentParser(argparse.ArgumentParser):
    """Raises ConfigError where argparse prints its usage and leaves."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found wrong, in one sentence that begins with the flag."""
        sentence = message.removeprefix("argument ")
        raise ConfigError(f"{sentence}{'' if sentence.endswith(('.', '?')) else '.'} See --help.")

    @property
    def flags(self) -> list[str]:
        """Every spelling of every flag."""
        return [flag for action in self._actions for flag in action.option_strings]


class _StoreOnce(argparse.Action):
    """Store a value; two different spellings of one setting must agree."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if option_string is None and values in (None, []):  # given by place, and not given
            return
        field: ConfigField = self.const
        if field.is_switch:
            values = option_string not in field.negative_flags
        elif field.container is not None:
            values = field.container(values)
        spellings = vars(namespace).setdefault("_spellings", {})
        before, value_before = spellings.get(self.dest, (option_string, values))
        if before != option_string and value_before != values:
            parser.error(f"{before} and {option_string}: contradict each other. Give one of them")
        spellings[self.dest] = (option_string, values)


def _add_field(group: argparse._ArgumentGroup, field: ConfigField) -> None:
    arguments: dict[str, Any] = {"action": _StoreOnce, "const": field, "help": _help_text(field)}
    if field.is_switch:
        group.add_argument(*field.flags, *field.negative_flags, dest=field.name, nargs=0, **arguments)
        return

    def convert(text: str) -> Any:
        try:
            return field.from_text(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    nargs = "*" if field.container else "?" if field.positional else None  # a missing one may be in the YAML file
    if field.positional:
        group.add_argument(
            field.name, nargs=nargs, metavar=field.name.upper(), default=None, type=convert, **arguments
        )
        return
    words = ["{" + ",".join(map(str, field.choices)) + "}"] if field.choices else []
    words += [_METAVARS[kind] for kind in field.types[:1]]
    group.add_argument(*field.flags, dest=field.name, nargs=nargs, metavar="|".join(words), type=convert, **arguments)


def version_line(prog: str, distribution: str) -> str:
    """Return what ``--version`` prints: the command, then the version of the package that brings it."""
    import importlib.metadata

    return f"{prog} ({distribution}) {importlib.metadata.version(distribution)}"


def distribution_of(config_class: type) -> str:
    """Return the name of the package that a config belongs to: ``bionemo-esm2``; bionemo-core for a script's own."""
    parts = config_class.__module__.split(".")
    return f"bionemo-{parts[1]}" if parts[0] == "bionemo" and len(parts) > 1 else "bionemo-core"


class _ShowVersion(argparse.Action):
    """Print the version and exit; it is looked up only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, **settings: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **settings)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        sys.stdout.write(version_line(parser.prog, str(self.const)) + "\n")
        parser.exit()


def _help_text(field: ConfigField) -> str:
    default = field.default
    if isinstance(default, (tuple, list)):
        default = " ".join(map(str, default)) or "none"
    elif field.is_switch and default is not None:
        default = "on" if default else "off"
    note = " (required)" if field.required else "" if default is None else f" (default: {default})"
    return f"{field.help}{note}".replace("%", "%%")


class _HelpFormatter(argparse.HelpFormatter):
    """As wide as the terminal, at most 119 columns; a flag's value is named once, after all of its spellings."""

    def __init__(self, prog: str) -> None:
        width = max(40, min(119, shutil.get_terminal_size().columns))
        super().__init__(prog, max_help_position=min(36, width // 3), width=width)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {self._format_args(action, action.dest.upper())}"

    def _format_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any) -> str:
        fields = [action for action in actions if isinstance(action.const, ConfigField)]
        required = [f"{a.const.flags[0]} {a.metavar}" for a in fields if a.option_strings and a.const.required]
        positional = [
            action.metavar if action.const.required else f"[{action.metavar}]"
            for action in fields
            if not action.option_strings
        ]
        start = f"usage: {self._prog} "
        words = [*required, "[--flag value ...]", *positional]
        unbroken = [word.replace(" ", "\0") for word in words]  # a flag stays beside its value
        lines = textwrap.wrap(
            " ".join(unbroken),
            width=self._width,
            initial_indent=start,
            subsequent_indent=" " * min(len(start), self._width // 3),
            break_long_words=False,
            break_on_hyphens=False,
        )
        return "\n".join(lines).replace("\0", " ") + "\n\n"

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("Example:\n") else super()._fill_text(text, width, indent)
