#!/usr/bin/env python
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Download models and data by name and put them where a project's folders expect them.

    python scripts/download_artifacts.py --models esm2_650m --model-dir models
    python scripts/download_artifacts.py --data all --data-dir data --source ngc

The files are kept once, in the cache of bionemo-core; the folders get links to them, or copies with --copy.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from bionemo.core.command import run_command
from bionemo.core.config import option, parse
from bionemo.core.errors import ConfigError, DataFileError
from bionemo.core.files import atomic_directory, atomic_file


ARTIFACT_PATHS = Path(__file__).with_name("artifact_paths.yaml")


@dataclass(frozen=True, kw_only=True)
class ArtifactConfig:
    """Download models and data by the names in artifact_paths.yaml."""

    models: tuple[str, ...] = option((), help="Names of models, or all.")
    data: tuple[str, ...] = option((), help="Names of data sets, or all.")
    model_dir: Path = option(Path("models"), help="Where models appear.")
    data_dir: Path = option(Path("data"), help="Where data sets appear.")
    source: Literal["auto", "https", "hf", "ngc", "pbss"] = option("auto", help="Where to download from.")
    copy: bool = option(False, help="Copy files out of the cache instead of linking to them.")

    def __post_init__(self) -> None:
        if not self.models and not self.data:
            raise ConfigError("--models or --data: give at least one name, or all.")


def main(argv: Sequence[str]) -> None:
    """Download what was asked for and print where each thing is."""
    config = parse(ArtifactConfig, argv, prog="download_artifacts")
    known = yaml.safe_load(ARTIFACT_PATHS.read_text(encoding="utf-8"))
    chosen = [
        (config.model_dir, chosen_from(known["models"], config.models, "--models")),
        (config.data_dir, chosen_from(known["data"], config.data, "--data")),
    ]
    from bionemo.core.data.load import load

    for folder, artifacts in chosen:
        for artifact in artifacts:
            cached = load(artifact["tag"], source=config.source)
            print(place(cached, folder / artifact["path"], copy=config.copy))


def chosen_from(known: dict[str, dict[str, str]], names: Sequence[str], flag: str) -> list[dict[str, str]]:
    """Look the names up; ConfigError for one that is not known."""
    unknown = sorted(set(names) - set(known) - {"all"})
    if unknown:
        raise ConfigError(f"{flag}: no such name: {', '.join(unknown)}. Known are: {', '.join(known)}.")
    return [known[name] for name in (known if "all" in names else names)]


def place(cached: Path, target: Path, *, copy: bool) -> Path:
    """Let a cached file or folder appear at its place; what lies there already is left alone."""
    if target.is_symlink() and target.resolve() == cached.resolve():
        return target
    if target.exists() or target.is_symlink():
        raise DataFileError(f"{target}: exists already. Move it away or choose another folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not copy:
        target.symlink_to(cached.resolve())
    elif cached.is_dir():
        with atomic_directory(target) as folder:
            shutil.copytree(cached, folder, symlinks=True, dirs_exist_ok=True)
    else:
        with cached.open("rb") as source, atomic_file(target) as file:
            shutil.copyfileobj(source, file, 1 << 20)
    return target


if __name__ == "__main__":
    sys.exit(run_command(main, prog="download_artifacts"))
