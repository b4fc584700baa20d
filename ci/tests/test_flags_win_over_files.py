# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Every command: a flag on the command line wins over what it excludes in a configuration file."""

import importlib
import itertools
import json
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from bionemo.core.command import Command, CommandGroup
from bionemo.core.config import explicit_fields, from_mapping
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
    """Return values of a field that differ from its default."""
    if field.choices:
        values = [value for value in field.choices if value != field.default]
    else:
        by_type = {bool: not field.default, int: 2, float: 0.25, Path: "x", str: "x"}
        values = [by_type[field.types[0]]]
    return [[value] for value in values] if field.container else values


def as_flags(field: ConfigField, value: Any) -> list[str]:
    if field.is_switch:
        return [field.flags[0] if value else field.negative_flags[0]]
    texts = [str(item) for item in value] if isinstance(value, list) else [str(value)]
    return texts if field.positional else [field.flags[0], *texts]


def accepts(command: Command[Any], settings: dict[str, Any]) -> bool:
    """Return whether settings fit together, all of them given in one place."""
    try:
        config = from_mapping(command.config_class, settings)
        if command.check is not None:
            command.check(config)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("command", COMMANDS, ids=[command.prog for command in COMMANDS])
def test_a_flag_wins_over_what_it_excludes_in_a_file(command: Command[Any], tmp_path: Path, monkeypatch: Any) -> None:
    """Of all pairs of settings that are good alone and refused together as flags."""
    monkeypatch.chdir(tmp_path)
    fields = config_fields(command.config_class)
    common = {field.name: samples(field)[0] for field in fields if field.required} | REQUIRED.get(command.prog, {})
    settings = [(field, value) for field in fields if field.name not in common for value in samples(field)]
    assert accepts(command, common)
    good = [(field, value) for field, value in settings if accepts(command, {**common, field.name: value})]
    refused = []
    for pair in itertools.combinations(good, 2):
        if pair[0][0] is pair[1][0] or accepts(command, common | {field.name: value for field, value in pair}):
            continue
        for (field, value), (other, other_value) in (pair, pair[::-1]):
            in_file = tmp_path / "settings.yaml"
            in_file.write_text(json.dumps({**common, other.name: other_value}))  # JSON is YAML
            flags = as_flags(field, value)
            try:
                explicit = explicit_fields(command.parse([f"--config={in_file}", *flags]))
            except ConfigError as error:
                refused.append(f"{' '.join(flags)} over {other.name}: {other_value}: {error}")
            else:
                assert {field.name, other.name} & explicit == {field.name}
    assert refused == []
