# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Every command: a flag on the command line wins over what it excludes in a configuration file."""

import functools
import importlib
import itertools
import json
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from bionemo.core import _config_parser, _unique_keys_yaml
from bionemo.core.command import Command, CommandGroup
from bionemo.core.config import explicit_fields
from bionemo.core.config_fields import ConfigField, config_fields
from bionemo.core.errors import ConfigError


REQUIRED = {
    "download_bionemo_data": {"list_resources": True},
    "infer_esm2": {"embedding": ["mean"]},
    "score_variants_esm2": {"scan": True},
    "finetune_geneformer": {"label_column": "x"},
    "train_esm2": {"train_fasta": ["x"]},
    "train_geneformer": {"data_dir": "x", "token_dictionary": "x"},
    "perturb_geneformer": {"data_path": "x", "checkpoint_path": "x"},
    "convert_h5ad_to_scdl": {"data_path": "."},
}
"""What a command asks for beside its required flags; it may stand in the file and be excluded there."""


def commands() -> Iterator[Command[Any]]:
    for entry in sorted(entry_points(group="console_scripts"), key=lambda entry: entry.name):
        if entry.module.startswith("bionemo."):
            main = getattr(importlib.import_module(entry.module), entry.attr)
            yield from main.commands.values() if isinstance(main, CommandGroup) else [main]


COMMANDS = list(commands())


def samples(field: ConfigField) -> list[Any]:
    """Return values of a field, 0 and False among them: that a setting was given is not read from its value."""
    by_type = {bool: [True, False], int: [2, 0], float: [0.25, 0.0], Path: ["x"], str: ["x"]}
    values = list(field.choices) if field.choices else by_type[field.types[0]]
    return [[value] for value in values] if field.container else values


def as_flags(field: ConfigField, value: Any) -> list[str]:
    if field.is_switch:
        return [field.flags[0] if value else field.negative_flags[0]]
    texts = [str(item) for item in value] if isinstance(value, list) else [str(value)]
    return texts if field.positional else [field.flags[0], *texts]


def accepts(command: Command[Any], argv: list[str]) -> bool:
    """Return whether a command takes its arguments."""
    try:
        command.parse(argv)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("command", COMMANDS, ids=[command.prog for command in COMMANDS])
def test_a_flag_wins_over_what_it_excludes_in_a_file(command: Command[Any], tmp_path: Path, monkeypatch: Any) -> None:
    """Of all pairs of settings that are good alone and refused together as flags."""
    monkeypatch.chdir(tmp_path)
    for module, name in ((_config_parser, "build_parser"), (_unique_keys_yaml, "load_yaml")):  # of thousands of calls
        monkeypatch.setattr(module, name, functools.cache(getattr(module, name)))
    fields = config_fields(command.config_class)
    common = {field.name: samples(field)[0] for field in fields if field.required} | REQUIRED.get(command.prog, {})
    in_file = tmp_path / "settings.yaml"
    in_file.write_text(json.dumps(common))  # JSON is YAML
    with_file = f"--config={in_file}"
    assert accepts(command, [with_file])
    settings = [(field, value) for field in fields if field.name not in common for value in samples(field)]
    good = [pair for pair in settings if accepts(command, [with_file, *as_flags(*pair)])]
    contradicting = [
        pair
        for pair in itertools.combinations(good, 2)
        if pair[0][0] is not pair[1][0] and not accepts(command, [with_file, *as_flags(*pair[0]), *as_flags(*pair[1])])
    ]
    refused = []
    for pair in contradicting:
        for (field, value), (other, other_value) in (pair, pair[::-1]):
            in_file.write_text(json.dumps({**common, other.name: other_value}))
            flags = as_flags(field, value)
            try:
                explicit = explicit_fields(command.parse([with_file, *flags]))
            except ConfigError as error:
                refused.append(f"{' '.join(flags)} over {other.name}: {other_value}: {error}")
            else:
                assert {field.name, other.name} & explicit == {field.name}
    assert refused == []
