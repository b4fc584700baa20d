# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import pickle
import subprocess
import sys
from dataclasses import MISSING, FrozenInstanceError, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import pytest

from bionemo.core._config_parser import build_parser
from bionemo.core.config import changed, explicit_fields, from_mapping, option, option_like, parse, to_yaml
from bionemo.core.config_fields import config_fields
from bionemo.core.errors import BionemoError, ConfigError, MissingFileError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a model.

    The rest is not shown.
    """

    data_path: Path = option(help="FASTA file.")
    lr: float = option(4e-4, help="Peak learning rate, reached after 10% of the steps.")
    num_steps: int = option(500_000, help="Optimizer steps.", aliases=("--max-steps",))
    pack: bool = option(True, help="Pack sequences.", negative_aliases=("--disable-packing",))
    precision: Literal["auto", "bf16-mixed", 16, 32] = option("auto", help="Arithmetic.", group="speed")
    limit_val_batches: int | float | None = option(2, help="Batches.")
    num_gpus: int | Literal["auto"] = option("auto", help="Devices.", flag="--devices", aliases=("--num-gpus",))
    nsys_ranks: list[int] = option([0], help="Ranks.")
    tags: tuple[str, ...] | None = option(None, help="Tags.")
    overlap: bool | None = option(None, help="Tri-state.")
    strategy: str = option("all", help="Masking.", choices=("all", "some"))

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ConfigError(f"--num-steps: expected at least 1, got {self.num_steps}.")


BASE = ["--data-path", "a.fasta"]


def test_defaults():
    config = parse(TrainConfig, BASE)
    assert config == TrainConfig(data_path=Path("a.fasta"))
    assert config.nsys_ranks == [0]
    assert explicit_fields(config) == {"data_path"}
    with pytest.raises(FrozenInstanceError):
        config.lr = 1.0


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["--lr", "1e-3"], "lr", 1e-3),
        (["--lr=-1e-3"], "lr", -1e-3),
        (["--lr", "3"], "lr", 3.0),
        (["--num-steps", "7"], "num_steps", 7),
        (["--max-steps", "1_000"], "num_steps", 1000),
        (["--max-steps", "7", "--num-steps", "7"], "num_steps", 7),
        (["--num-steps", "7", "--num-steps", "8"], "num_steps", 8),
        (["--pack"], "pack", True),
        (["--no-pack"], "pack", False),
        (["--disable-packing"], "pack", False),
        (["--no-pack", "--disable-packing"], "pack", False),
        (["--precision", "32"], "precision", 32),
        (["--precision", "bf16-mixed"], "precision", "bf16-mixed"),
        (["--limit-val-batches", "None"], "limit_val_batches", None),
        (["--limit-val-batches", "3"], "limit_val_batches", 3),
        (["--limit-val-batches", "0.5"], "limit_val_batches", 0.5),
        (["--num-gpus", "2"], "num_gpus", 2),
        (["--devices", "auto"], "num_gpus", "auto"),
        (["--nsys-ranks", "0", "3"], "nsys_ranks", [0, 3]),
        (["--nsys-ranks"], "nsys_ranks", []),
        (["--tags", "a", "b"], "tags", ("a", "b")),
        (["--no-overlap"], "overlap", False),
        (["--strategy", "some"], "strategy", "some"),
    ],
)
def test_flags(argv, name, value):
    config = parse(TrainConfig, [*BASE, *argv])
    assert getattr(config, name) == value
    assert type(getattr(config, name)) is type(value)
    assert explicit_fields(config) == {"data_path", name}


def test_int_or_choice_accepts_only_those():
    with pytest.raises(ConfigError, match=r"--devices/--num-gpus: expected one of auto or a whole number, got 'all'"):
        parse(TrainConfig, [*BASE, "--num-gpus", "all"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--lr", "fast"], "--lr: expected a number, got 'fast'. See --help."),
        (["--lr", "nan"], "--lr: expected a number, got 'nan'. See --help."),
        (["--num-steps", "1.5"], "--num-steps/--max-steps: expected a whole number, got '1.5'. See --help."),
        (["--num-steps", "0"], "--num-steps: expected at least 1, got 0."),
        (["--lr"], "--lr: expected one argument. See --help."),
        (["--num-stepps", "3"], "--num-stepps: no such flag. Did you mean --num-steps? See --help."),
        (["--num", "3"], "--num: no such flag. Did you mean --num-gpus? See --help."),
        (["--nothing-alike=3"], "--nothing-alike: no such flag. See --help."),
        (["surprise"], "surprise: unexpected argument. See --help."),
        (["--pack", "--no-pack"], "--pack and --no-pack: contradict each other. Give one of them. See --help."),
        (
            ["--max-steps", "3", "--num-steps", "4"],
            "--max-steps and --num-steps: contradict each other. Give one of them. See --help.",
        ),
        (
            ["--precision", "bf16-mixd"],
            "--precision: expected one of auto, bf16-mixed, 16, 32, got 'bf16-mixd'. Did you mean bf16-mixed? "
            "See --help.",
        ),
        (["--strategy", "none"], "--strategy: expected one of all, some, got 'none'. See --help."),
        (["--tags", "a", "--config", "nowhere.yaml"], "--config nowhere.yaml: no such file."),
    ],
)
def test_wrong_flags(argv, message):
    with pytest.raises(BionemoError) as caught:
        parse(TrainConfig, [*BASE, *argv])
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_missing_required():
    with pytest.raises(ConfigError, match=r"^--data-path: required, but not given\. See --help\.$"):
        parse(TrainConfig, [])


def write(folder: Path, text: str) -> list[str]:
    (folder / "c.yaml").write_text(text)
    return ["--config", str(folder / "c.yaml")]


def test_yaml_with_flags_on_top(tmp_path):
    argv = write(tmp_path, "data_path: b.fasta\nlr: 4e-5\nnum_steps: 10\npack: false\ntags: [x]\nnsys_ranks: [1, 2]\n")
    config = parse(TrainConfig, [*argv, "--num-steps", "20"])
    assert (config.data_path, config.lr, config.num_steps, config.pack) == (Path("b.fasta"), 4e-5, 20, False)
    assert (config.tags, config.nsys_ranks) == (("x",), [1, 2])
    assert explicit_fields(config) == {"data_path", "lr", "num_steps", "pack", "tags", "nsys_ranks"}
    assert explicit_fields(changed(config, lr=1.0, num_gpus=2)) == explicit_fields(config)


def test_yaml_keys_may_be_any_spelling_of_the_flag(tmp_path):
    config = parse(TrainConfig, write(tmp_path, "data_path: a\nmax_steps: 5\ndevices: 2\n"))
    assert (config.num_steps, config.num_gpus) == (5, 2)
    assert explicit_fields(config) == {"data_path", "num_steps", "num_gpus"}
    assert parse(TrainConfig, write(tmp_path, "data_path: a\nmax_steps: 5\nnum_steps: 5\n")).num_steps == 5
    argv = write(tmp_path, "data_path: a\nnum_steps: 4\nmax_steps: 5\n")
    with pytest.raises(ConfigError, match="keys 'num_steps' and 'max_steps' contradict each other"):
        parse(TrainConfig, argv)


@dataclass(frozen=True, kw_only=True)
class TextChoicesConfig:
    """Choose."""

    precision: Literal["auto", "bf16-mixed", "16", "32"] = option("auto", help="Precision.")


def test_a_number_in_yaml_chooses_what_it_chooses_as_a_flag(tmp_path):
    assert parse(TextChoicesConfig, write(tmp_path, "precision: 16")).precision == "16"
    assert parse(TextChoicesConfig, ["--precision", "16"]).precision == "16"
    for wrong in ("16.0", "true", "64"):
        with pytest.raises(ConfigError, match="expected one of auto, bf16-mixed, 16, 32"):
            parse(TextChoicesConfig, write(tmp_path, f"precision: {wrong}"))


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [("lr: 1\npack: true\nlr: 2\n", 3, "lr"), ("lr: 1\n'lr': 1\n", 2, "lr"), ("tags: [{a: 1, a: 2}]\n", 1, "a")],
)
def test_a_key_given_twice_is_refused(tmp_path, text, line, key):
    argv = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        parse(TrainConfig, [*BASE, *argv])
    assert str(caught.value) == f"--config {argv[1]}, line {line}: not valid YAML: key {key!r} is given twice."


def test_yaml_values_equal_to_the_default_are_not_explicit(tmp_path):
    argv = write(tmp_path, to_yaml(TrainConfig(data_path=Path("x"), lr=1.0)))
    assert explicit_fields(parse(TrainConfig, argv)) == {"data_path", "lr"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: 1", "unknown key 'learning_rate'."),
        ("num-steps: 1", "unknown key 'num-steps'. Did you mean num_steps?"),
        ("num_step: 1", "unknown key 'num_step'. Did you mean num_steps?"),
        ("num_steps: many", "key 'num_steps': expected a whole number, got 'many'."),
        ("num_steps: '7'", "key 'num_steps': expected a whole number, got '7'."),
        ("num_steps: true", "key 'num_steps': expected a whole number, got True."),
        ("num_steps: null", "key 'num_steps': expected a whole number, got None."),
        ("num_steps: 1.0", "key 'num_steps': expected a whole number, got 1.0."),
        ("lr: .nan", "key 'lr': expected a number, got nan."),
        ("lr: [1]", "key 'lr': expected a number, got [1]."),
        ("pack: 1", "key 'pack': expected true or false, got 1."),
        ("precision: 64", "key 'precision': expected one of auto, bf16-mixed, 16, 32, got 64."),
        ("nsys_ranks: 1", "key 'nsys_ranks': expected a list, each a whole number, got 1."),
        ("nsys_ranks: [a]", "key 'nsys_ranks': expected a list, each a whole number, got 'a'."),
        ("data_path: 3", "key 'data_path': expected a path, got 3."),
        ("- 1", "expected a mapping of setting names to values, found list."),
        ("", "expected a mapping of setting names to values, found NoneType."),
    ],
)
def test_wrong_yaml(tmp_path, text, message):
    argv = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        parse(TrainConfig, [*BASE, *argv])
    assert str(caught.value) == f"--config {argv[1]}: {message}"


def test_broken_yaml_names_the_line(tmp_path):
    argv = write(tmp_path, "lr: 1\npack: [1\n")
    with pytest.raises(ConfigError, match=r"c\.yaml, line 3: not valid YAML: "):
        parse(TrainConfig, [*BASE, *argv])
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"c\.yaml: cannot be read as UTF-8 text"):
        parse(TrainConfig, [*BASE, *argv])
    with pytest.raises(MissingFileError):
        parse(TrainConfig, [*BASE, "--config", str(tmp_path / "d.yaml")])


@pytest.mark.parametrize(
    "changes",
    [{}, {"tags": ("a", "None"), "limit_val_batches": None, "lr": 4e-7, "precision": 16, "overlap": True}],
)
def test_yaml_round_trip(tmp_path, changes):
    config = TrainConfig(data_path=Path("/x/ä.fasta"), **changes)
    assert parse(TrainConfig, write(tmp_path, to_yaml(config))) == config


def test_from_mapping_names_its_source():
    assert from_mapping(TrainConfig, {"data_path": "a", "lr": 1}) == TrainConfig(data_path=Path("a"), lr=1.0)
    with pytest.raises(ConfigError, match=r"^config\.json: unknown key 'LR'\.$"):
        from_mapping(TrainConfig, {"LR": 1}, source="config.json")
    with pytest.raises(ConfigError, match=r"^--data-path: required"):
        from_mapping(TrainConfig, {})


def test_explicit_fields_survive_pickling_and_are_empty_for_direct_configs():
    config = parse(TrainConfig, [*BASE, "--lr", "1"])
    copied = pickle.loads(pickle.dumps(config))  # noqa: S301 our own bytes: spawned ranks get their config so
    assert explicit_fields(copied) == {"data_path", "lr"}
    assert explicit_fields(TrainConfig(data_path=Path("a"))) == frozenset()


def test_help_shows_units_defaults_and_both_sides_of_a_switch(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(TrainConfig, ["--help"], prog="train_thing")
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("usage: train_thing --data-path PATH [--flag value ...] Train a model. settings:")
    assert "--lr X Peak learning rate, reached after 10% of the steps. (default: 0.0004)" in text
    assert "--num-steps, --max-steps N Optimizer steps. (default: 500000)" in text
    assert "--pack, --no-pack, --disable-packing Pack sequences. (default: on)" in text
    assert "--data-path PATH FASTA file. (required)" in text
    assert "speed: --precision {auto,bf16-mixed,16,32} Arithmetic. (default: auto)" in text
    assert "--overlap, --no-overlap Tri-state. --strategy" in text  # no "(default: None)"
    assert "The rest is not shown" not in text


@pytest.mark.parametrize(("columns", "widest"), [("60", 60), ("100", 100), ("400", 119)])
def test_help_is_as_wide_as_the_terminal(monkeypatch, columns, widest):
    monkeypatch.setenv("COLUMNS", columns)
    text = build_parser(TrainConfig, prog="train_thing", description="word " * 100).format_help()
    assert widest - 10 < max(map(len, text.splitlines())) <= widest


def test_usage_names_what_is_required_and_help_ends_with_the_example(capsys):
    with pytest.raises(SystemExit):
        parse(CopyConfig, ["--help"], prog="copy", example="copy a \\\n    b")
    text = capsys.readouterr().out
    assert text.startswith("usage: copy [--flag value ...] RUN_DIR [OUT_DIR]\n\n")
    assert text.endswith("\n\nExample:\n  copy a \\\n      b\n")


def test_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(TrainConfig, ["--version"], prog="train_thing")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"train_thing (bionemo-core) {version('bionemo-core')}\n"


@dataclass(frozen=True, kw_only=True)
class LikeConfig:
    """Train likewise."""

    num_steps: int = option_like(TrainConfig, "num_steps", 7)
    lr: float = option_like(TrainConfig, "lr", group="speed")
    nsys_ranks: list[int] = option_like(TrainConfig, "nsys_ranks", [1])


def test_an_option_like_another_differs_in_its_default_and_heading_alone():
    declared = {field.name: field for field in config_fields(TrainConfig)}
    num_steps, lr, nsys_ranks = config_fields(LikeConfig)
    assert num_steps == replace(declared["num_steps"], default=7)
    assert lr == replace(declared["lr"], default=MISSING, group="speed")
    assert nsys_ranks == replace(declared["nsys_ranks"], default=[1])
    assert LikeConfig(lr=1.0).nsys_ranks is not LikeConfig(lr=1.0).nsys_ranks


@dataclass(frozen=True, kw_only=True)
class SpecialConfig(TrainConfig):
    """Train a special model."""

    special: int = option(1, help="Its own setting.")
    lr: float = option(1e-3, help="Peak learning rate.")


def test_own_settings_stand_before_inherited_ones():
    names = [field.name for field in config_fields(SpecialConfig)]
    assert names == ["special", *(field.name for field in config_fields(TrainConfig))]
    assert parse(SpecialConfig, BASE).lr == 1e-3


def test_parser_knows_every_flag():
    assert {"--lr", "--no-pack", "--config", "--debug", "--help"} <= set(build_parser(TrainConfig).flags)


@dataclass(frozen=True, kw_only=True)
class CopyConfig:
    """Copy."""

    run_dir: Path = option(help="From.", positional=True)
    out_dir: Path = option(Path("out"), help="To.", positional=True)
    debug: bool = option(False, help="Own debug.")


def test_positional(tmp_path):
    assert parse(CopyConfig, ["a", "b"]) == CopyConfig(run_dir=Path("a"), out_dir=Path("b"))
    assert parse(CopyConfig, ["a", "--debug"]) == CopyConfig(run_dir=Path("a"), debug=True)
    assert parse(CopyConfig, write(tmp_path, "run_dir: c")) == CopyConfig(run_dir=Path("c"))
    with pytest.raises(ConfigError, match=r"^RUN_DIR: required, but not given"):
        parse(CopyConfig, [])


@pytest.mark.parametrize("hint", [dict, "dict[str, int]", bytes, "int | bytes", type(None)])
def test_other_types_are_refused(hint):
    @dataclass(frozen=True, kw_only=True)
    class Bad:
        field: hint = option(None, help="x")

    Bad.__annotations__["field"] = hint
    with pytest.raises(TypeError, match=r"Config field 'field': type .* cannot be given as a flag"):
        parse(Bad, [])


def test_parsing_imports_neither_yaml_nor_anything_heavy():
    script = (
        "import sys\nfrom dataclasses import dataclass\nfrom bionemo.core.config import option, parse\n"
        "from bionemo.core.command import run_command\n"
        "@dataclass(frozen=True, kw_only=True)\nclass C:\n    'Doc.'\n    x: int = option(1, help='x')\n"
        "assert parse(C, ['--x', '2']).x == 2\n"
        "print(sorted({'yaml', 'numpy', 'torch', 'pydantic', 'pooch'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_path_may_stand_where_several_are_expected():
    @dataclass(frozen=True, kw_only=True)
    class Config:
        files: tuple[Path, ...] = option(help="Files.")

    assert from_mapping(Config, {"files": "a.txt"}).files == (Path("a.txt"),)
    assert from_mapping(Config, {"files": ["a.txt", "b.txt"]}).files == (Path("a.txt"), Path("b.txt"))
    with pytest.raises(ConfigError, match="expected a list, each a path, got 3"):
        from_mapping(Config, {"files": 3})
