# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``download_bionemo_data``: list the catalogue, or download one file of it or all."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from bionemo.core.command import run_command
from bionemo.core.config import option, parse
from bionemo.core.errors import BionemoError, ConfigError, ResourceError


@dataclass(frozen=True, kw_only=True)
class DownloadConfig:
    """Download a model or data file, checked by its digest, and print where it is."""

    artifact: str | None = option(None, positional=True, help="Tag of the file, for example esm2/650m:2.0.")
    list_resources: bool = option(False, help="List all tags with the sources that each can be downloaded from.")
    download_all: bool = option(False, flag="--all", help="Download every file of the catalogue.")
    source: Literal["auto", "https", "hf", "ngc", "pbss"] | None = option(
        None, help="Where to download from. None: what BIONEMO_DATA_SOURCE says, else auto, the first public one."
    )
    cache_dir: Path | None = option(None, help="Where files are kept. None: BIONEMO_CACHE_DIR.")
    offline: bool = option(False, help="Take files from the cache only, as BIONEMO_OFFLINE=1 does.")

    def __post_init__(self) -> None:
        if (self.artifact is not None) + self.list_resources + self.download_all != 1:
            raise ConfigError("You must provide an artifact name if --list-resources or --all is not set!")


def print_resources(*, output_source: TextIO = sys.stdout) -> None:
    """Print each tag of the catalogue, a tab, and the sources it can be downloaded from."""
    from bionemo.core.data.resource import get_all_resources

    output_source.write("#resource_name\tsource_options\n")
    for tag, resource in sorted(get_all_resources().items()):
        sources = [source for source in ("https", "hf", "ngc", "pbss") if getattr(resource, source)]
        output_source.write(f"{tag}\t{','.join(sources)}\n")


def main(
    download_all: bool,
    list_resources: bool,
    artifact_name: str | None,
    source: Any = None,
    cache_dir: Path | None = None,
) -> str | None:
    """Do what the command was asked for.

    Returns:
        What went wrong, in one text, or None.
    """
    try:
        config = DownloadConfig(
            artifact=artifact_name,
            list_resources=list_resources,
            download_all=download_all,
            source=source,
            cache_dir=cache_dir,
        )
        _run(config)
    except BionemoError as error:
        return str(error)
    return None


def entrypoint(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    prog = "download_bionemo_data"
    return run_command(lambda arguments: _run(parse(DownloadConfig, arguments, prog=prog)), argv, prog=prog)


def _run(config: DownloadConfig) -> None:
    if config.list_resources:
        print_resources(output_source=sys.stdout)
        return
    from bionemo.core.data import load as load_module
    from bionemo.core.data.resource import get_all_resources

    if config.offline:
        os.environ["BIONEMO_OFFLINE"] = "1"
    source = config.source or load_module.DEFAULT_SOURCE
    if config.artifact is not None:
        path = load_module.load(config.artifact, source=source, cache_dir=config.cache_dir)
        sys.stdout.write(f"{path.absolute()}\n")
        return
    catalogue, failed = get_all_resources(), []
    for tag in sorted(catalogue):
        try:
            path = load_module.load(tag, source=source, cache_dir=config.cache_dir)
            sys.stderr.write(f"  {tag}: {path.absolute()}\n")
        except BionemoError as error:
            failed.append(tag)
            sys.stderr.write(f"  {tag}: failed: {error}\n")
    if failed:
        raise ResourceError(f"{len(failed)} of {len(catalogue)} resources failed: {', '.join(failed)}")
