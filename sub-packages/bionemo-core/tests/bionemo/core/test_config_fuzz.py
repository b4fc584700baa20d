# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Generated configuration files: each is read as its generator meant it, or refused by one line.

Values are generated as pairs of YAML text and meaning; what a field makes of a meaning is written down here once more,
without the package. 300 files with every change, 10,000 nightly.
"""

import math
import re
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bionemo.core.config import option, parse
from bionemo.core.errors import ConfigError


class Refused(Exception):
    """What the slow reader does not accept."""


@dataclass(frozen=True, kw_only=True)
class FuzzedConfig:
    """Be generated."""

    data_path: Path = option(Path("d"), help="A path.")
    lr: float = option(4e-4, help="A number.")
    num_steps: int = option(5, help="A whole number.", aliases=("--max-steps",))
    pack: bool = option(True, help="A switch.")
    overlap: bool | None = option(None, help="A switch of three states.")
    precision: Literal["auto", "bf16-mixed", "16"] = option("auto", help="A choice of texts.")
    width: Literal[8, 16] = option(8, help="A choice of numbers.")
    limit: int | float | None = option(2, help="Either number, or none.")
    num_gpus: int | Literal["auto"] = option("auto", help="A number or a word.", flag="--devices")
    ranks: list[int] = option([0], help="Numbers.")
    tags: tuple[str, ...] | None = option(None, help="Words.")
    files: tuple[Path, ...] = option((), help="Paths.")


NAMES = {name: name for name in (field.name for field in fields(FuzzedConfig))} | {
    "max_steps": "num_steps",
    "devices": "num_gpus",
}


def meaning(name: str, value: Any) -> Any:
    """What a field makes of a value."""
    if name in ("ranks", "tags", "files"):
        return several(name, value)
    no_words = value is None or (isinstance(value, str) and value in ("None", "none", "null"))
    if name in ("overlap", "limit") and no_words:
        return None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if name == "num_gpus" and isinstance(value, str) and value == "auto":
        return "auto"
    if name in ("num_steps", "num_gpus") and is_whole:
        return value
    if name == "limit" and is_whole:
        return value
    if name in ("lr", "limit") and number(value) is not None:
        return number(value)
    if name in ("pack", "overlap") and isinstance(value, bool):
        return value
    if name == "precision":
        text = str(value) if is_whole else value
        if isinstance(text, str) and text in ("auto", "bf16-mixed", "16"):
            return text
    if name == "width" and is_whole and value in (8, 16):
        return value
    if name == "data_path" and isinstance(value, str):
        return Path(value)
    raise Refused(name)


def number(value: Any) -> float | None:
    """The finite number that a value is; YAML reads 4e-4, without a dot, as text."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+[eE][+-]?[0-9]+", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -1.7e308 < value < 1.7e308 else None


def several(name: str, value: Any) -> Any:
    """What a field of several values makes of a value."""
    if name == "tags" and (value is None or (isinstance(value, str) and value in ("None", "none", "null"))):
        return None
    if name == "files" and isinstance(value, str):
        return (Path(value),)
    if not isinstance(value, list):
        raise Refused(name)
    kinds = {"ranks": int, "tags": str, "files": str}
    if any(not isinstance(item, kinds[name]) or isinstance(item, bool) for item in value):
        raise Refused(name)
    if name == "ranks":
        return value
    return tuple(map(Path, value)) if name == "files" else tuple(value)


def slow_read(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    """Settings that pairs of key and value describe."""
    found: dict[str, Any] = {}
    if len({key for key, _ in entries}) < len(entries) or not entries:
        raise Refused("a key given twice, or nothing given")
    for key, value in entries:
        if key not in NAMES:
            raise Refused(key)
        setting = meaning(NAMES[key], value)
        if found.setdefault(NAMES[key], setting) != setting:
            raise Refused("contradiction")
    return found


OBJECT = object()
"""A value that no field accepts."""

SCALARS: list[tuple[str, Any]] = [
    ("7", 7), ("+7", 7), ("1_000", 1000), ("0x1F", 31), ("017", 15), ("0b11", 3), ("1:30", 90), ("16", 16), ("8", 8),
    ("1.5", 1.5), ("16.0", 16.0), ("4.0e-4", 4e-4), ("4e-4", "4e-4"), ("1e500", "1e500"), (".5", 0.5), ("5.", 5.0),
    (".inf", math.inf), ("-.INF", -math.inf), (".nan", math.nan), ("1" + "0" * 400, 10**400),
    ("true", True), ("False", False), ("yes", True), ("off", False), ("y", "y"), ("~", None), ("", None),
    ("null", None), ("None", "None"), ("none", "none"), ("'null'", "null"), ("auto", "auto"), ("'auto'", "auto"),
    ("bf16-mixed", "bf16-mixed"), ("'16'", "16"), ('"7"', "7"), ("'it''s'", "it's"), ('"a\\nb"', "a\nb"),
    ("a b", "a b"), ("a # b", "a"), ("a#b", "a#b"), ("!!str 7", "7"), ("!!int '7'", 7), ("!!float 7", 7.0),
    ("2020-01-02", OBJECT), ("!!binary aGk=", OBJECT), ("{a: 1}", OBJECT), ("{}", OBJECT), ("!!set {a, b}", OBJECT),
    ("\u00e4.fasta", "\u00e4.fasta"), ("/x/y.fasta", "/x/y.fasta"), ("|\n  a\n", "a\n"), (">-\n  a\n  b\n", "a b"),
]  # fmt: skip
ALIASES = [("a", "x"), ("b", "*a"), ("c", "*b"), ("d", "*c"), ("e", "*d"), ("f", "*e"), ("g", "*f"), ("h", "*g")]
BROKEN = [
    "lr: [1\n", "lr: {1\n", "lr: 'a\n", "lr: a: b\n", "\tlr: 1\n", "lr: 1\n  pack: true\n", "- 1\n", "lr\n", "@\n",
    "lr: !!python/name:os.system ''\n", "lr: !!python/object/apply:os.getpid []\n", "lr: !unknown 1\n", "lr: *a\n",
    "lr: 2020-13-45\n", "lr: !!timestamp x\n", "lr: !!int x\n", "lr: !!float []\n", "lr: !!bool 7\n", "lr: !!map 7\n",
    "lr: " + "9" * 5000 + "\n", "lr: " + "[" * 400 + "]" * 400 + "\n", "lr: \x07\n",
    "lr: &a [*a]\n", "lr: &a {b: *a}\n", "? [1]\n: 2\n", "? {a: 1}\n: 2\n", "lr: 1\n---\nlr: 2\n", "%YAML 9.9\n",
    "\x00",
    "lr: [" + ", ".join(f"&{name} [{', '.join(9 * [item])}]" for name, item in ALIASES) + "]\n",
]  # fmt: skip
"""Texts that are no configuration, whatever stands around them."""

NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20).map(lambda value: (str(value), value)),
    st.floats(-1e300, 1e300, allow_subnormal=False).map(lambda value: (f"{value:+.17e}", float(f"{value:.17e}"))),
    st.sampled_from(["1e3", "+2E5", "3e-7"]).map(lambda text: (text, text)),
)
WORDS = st.from_regex(r"[a-z][a-z/._]{1,8}[a-z]", fullmatch=True).filter(
    lambda word: word not in {"yes", "no", "on", "off", "true", "false", "null", "none"}
)
SCALAR = st.one_of(st.sampled_from(SCALARS), NUMBERS, WORDS.map(lambda word: (word, word)))
FLOW = st.lists(
    st.one_of(NUMBERS, WORDS.map(lambda word: (word, word)), st.sampled_from([("true", True), ("[]", OBJECT)])),
    max_size=4,
)
VALUES = st.one_of(
    SCALAR,
    SCALAR,
    FLOW.map(lambda items: (f"[{', '.join(text for text, _ in items)}]", [value for _, value in items])),
    FLOW.filter(bool).map(
        lambda items: ("\n" + "\n".join(f"  - {text}" for text, _ in items), [value for _, value in items])
    ),
)
KEYS = st.one_of(
    st.sampled_from(sorted(NAMES)),
    st.sampled_from(sorted(NAMES)),
    st.sampled_from(["num-steps", "--lr", "LR", "learning_rate", "num_step"]),
)
ENTRIES = st.lists(st.tuples(KEYS, VALUES), max_size=5)


def check_file(entries: list[tuple[str, tuple[str, Any]]], broken: str | None, end: str) -> None:
    """Compare both readers on one file."""
    lines = [f"{key}: {text}".rstrip(" ") for key, (text, _) in entries]
    text = "\n".join([*lines, broken or ""]) + end
    try:
        expected = slow_read([(key, value) for key, (_, value) in entries])
    except Refused:
        expected = None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        path.write_text(text, encoding="utf-8")
        if expected is None or broken is not None:
            with pytest.raises(ConfigError) as caught:
                parse(FuzzedConfig, ["--config", str(path)])
            assert str(caught.value).startswith(f"--config {path}")
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 2000
            return
        config = parse(FuzzedConfig, ["--config", str(path)])
    wanted = FuzzedConfig(**expected)
    assert config == wanted
    for name in NAMES.values():
        assert type(getattr(config, name)) is type(getattr(wanted, name))


CASES = given(
    ENTRIES,
    st.one_of(st.none(), st.none(), st.none(), st.sampled_from(BROKEN)),
    st.sampled_from(["", "\n", "# end\n"]),
)
QUIET = [HealthCheck.too_slow]


@settings(max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=QUIET)
@CASES
def test_a_file_is_read_as_it_was_meant_or_refused_by_one_line(entries, broken, end):
    check_file(entries, broken, end)


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_no_text_ends_in_anything_but_one_line(text):
    check_file([], text, "")


@pytest.mark.nightly
@settings(max_examples=10_000, deadline=None, database=None, suppress_health_check=QUIET)
@CASES
def test_ten_thousand_files(entries, broken, end):
    check_file(entries, broken, end)
