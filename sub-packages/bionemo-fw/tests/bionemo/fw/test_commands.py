# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""What all commands have in common, over every console script of the installed packages."""

import dataclasses
import resource
import shlex
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from bionemo.core.command import Command, CommandGroup
from bionemo.core.config_fields import config_fields


SCRIPTS = {point.name: point for point in entry_points(group="console_scripts") if point.value.startswith("bionemo.")}
NOT_OURS_TO_PARSE = {"dependency_graph", "bionemo-dependency-graph"}  # a script of the meta package, without a config

OTHER_MEANINGS = {
    "--biobert-spec-option": (2, "the two models have other layer specs, under the names of BioNeMo 2"),
    "--config-class": (3, "kinds of ESM-2, of its heads, and of Geneformer, under the names of BioNeMo 2"),
    "--checkpoint-path": (3, "the example's steps have their own checkpoints, in places of their own"),
    "--data-dir": (3, "cells; archives for training and validation; digits"),
    "--data-path": (7, "the input of a command is its own thing: cells, proteins, counts, a folder of files, a text"),
    "--embedding": (2, "one vector of a cell, any number of a protein"),
    "--feature-type": (2, "the converter also takes all of them; ranking needs one"),
    "--format": (3, "of embeddings of cells; of proteins; of prepared sequences"),
    "--genes": (2, "genes to perturb; how gene tables are merged"),
    "--counts-layer": (2, "tokens and medians also read it as --layer, which the other commands need for the model's"),
    "--id-column": (2, "of obs, where the default is its index; of a table of proteins"),
    "--include-hiddens": (2, "of all tokens of a cell; of residues, without special tokens"),
    "--include-input-ids": (2, "likewise"),
    "--include-logits": (2, "likewise"),
    "--label-column": (2, "one column of cells; several of proteins make a multi-task head"),
    "--layer": (2, "of the model; of the counts of a folder of files"),
    "--lora-checkpoint-path": (2, "fine-tuning starts from it; inference refuses it"),
    "--max-seq-length": (3, "the crop of pretraining; what fine-tuning accepts; limit or window of --length-policy"),
    "--metric-to-monitor-for-checkpoints": (2, "pretraining has three metrics; fine-tuning those of its labels"),
    "--limit-val-batches": (3, "only pretraining accepts fractions"),
    "--model": (4, "sizes of ESM-2; sizes of Geneformer; families of Geneformer for tokens and for medians"),
    "--num-folds": (2, "of cells; of variants"),
    "--output-path": (2, "a file of medians; a folder of tokens"),
    "--pipeline-model-parallel-size": (2, "inference accepts 1 only"),
    "--prediction-interval": (2, "the files of cells and those of proteins have other names"),
    "--resume": (2, "what is resumed: a conversion; embeddings, where off discards what is there"),
    "--result-dir": (4, "the example's steps write into the folder itself"),
    "--task-type": (2, "one kind of labels of cells or genes; one for each label column of proteins"),
    "--tensor-model-parallel-size": (2, "inference accepts 1 only"),
    "--to": (2, "ESM-2 has one form more, that of fair-esm"),
    "--token-dictionary": (2, "geneformer_medians restricts the genes to it"),
    "--train-data-path": (2, "cells; proteins"),
    "--valid-data-path": (2, "cells; proteins"),
}
"""Flags that are one word for several things: how many at most, and which."""


def commands() -> dict[str, Command]:
    found = {}
    for name, point in SCRIPTS.items():
        main = point.load()
        if isinstance(main, CommandGroup):
            found |= {f"{name} {step}": command for step, command in main.commands.items()}
        elif name not in NOT_OURS_TO_PARSE:
            found[name] = main
    return found


COMMANDS = commands()


def test_every_script_is_a_command() -> None:
    assert len(COMMANDS) >= 16
    for name, command in COMMANDS.items():
        assert isinstance(command, Command), name
        assert command.prog == name


def test_every_flag_is_declared_once() -> None:
    declarations: dict[str, set[object]] = defaultdict(set)
    for command in COMMANDS.values():
        metadata = {field.name: field.metadata for field in dataclasses.fields(command.config_class)}
        for field in config_fields(command.config_class):
            declarations[field.spelling].add(metadata[field.name]["declaration"])
    several = {flag: len(found) for flag, found in declarations.items() if len(found) > 1}
    allowed = {flag: number for flag, (number, _) in OTHER_MEANINGS.items()}
    assert {flag: number for flag, number in several.items() if number > allowed.get(flag, 1)} == {}
    assert set(allowed) <= set(several)  # an exception that is no longer needed goes


def test_checkpoint_and_checkpoint_path_are_one_flag() -> None:
    fields = [field for command in COMMANDS.values() for field in config_fields(command.config_class)]
    sources = [field for field in fields if field.name == "checkpoint_path"]
    assert len(sources) >= 5
    assert all({"--checkpoint", "--checkpoint-path"} <= set(field.flags) for field in sources)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_example_at_the_end_of_the_help_is_a_right_call(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = COMMANDS[name]
    assert command.example is not None
    assert max(map(len, command.example.splitlines())) <= 78  # with its indent, on the narrowest usual terminal
    words = shlex.split(command.example.replace("\\\n", " "))
    assert words[: len(name.split())] == name.split()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h5ad").mkdir()  # the one input whose presence is checked with the flags
    config = command.parse(words[len(name.split()) :])
    assert isinstance(config, command.config_class)


@pytest.mark.parametrize("name", sorted(set(SCRIPTS) - NOT_OURS_TO_PARSE))
def test_help_and_version_are_quick(name: str) -> None:
    point = SCRIPTS[name]
    command = f"sys.argv[0] = {name!r}\nfrom {point.module} import {point.attr} as main"
    for flag, shown in (("--help", "usage: "), ("--version", f"{name} (bionemo-")):
        done = run_python(f"{WITH_MODULES}\n{command}\nmain()", flag)
        assert (done.returncode, done.stdout.splitlines()[0].startswith(shown)) == (0, True), done.stdout
        assert "default: None" not in done.stdout
        assert set(done.stderr.split()) <= {"bionemo", "platformdirs", "yaml"}  # no NumPy, no torch


def test_help_takes_little_longer_than_python() -> None:
    python, helped = [], []  # CPU-seconds, in turns: the least of each is what it takes where nothing disturbs
    for _ in range(5):
        python.append(cpu_seconds("import argparse, dataclasses, importlib.metadata, inspect, logging, typing"))
        helped.append(cpu_seconds("from bionemo.esm2.scripts.train_esm2 import main; main()", "--help"))
    assert min(helped) < 4 * min(python)  # 2 as measured; 60 with torch


WITH_MODULES = """
import atexit, sys
packages = lambda: {name.split(".")[0] for name in sys.modules} - sys.stdlib_module_names
before = packages()
atexit.register(lambda: print(*packages() - before, file=sys.stderr))
"""


def cpu_seconds(code: str, *arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run_python(code, *arguments).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_python(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
