# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What ``download_bionemo_data`` does: list the catalogue, or download one file of it or all."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TextIO

from bionemo.core.command import Command, command
from bionemo.core.data.download_config import DownloadConfig, SourceOptions
from bionemo.core.errors import BionemoError, ResourceError


class Load(Protocol):
    """:func:`bionemo.core.data.load.load`."""

    def __call__(self, tag: str, /, source: SourceOptions, *, cache_dir: Path | None) -> Path:
        """Return where the file of a tag is, downloaded on need."""


def download_command(job: str | Callable[[DownloadConfig], Path | None]) -> Command[DownloadConfig]:
    """Build ``download_bionemo_data`` around its job."""
    return command(DownloadConfig, job, prog="download_bionemo_data", example="download_bionemo_data esm2/650m:2.0")


DETAILS = ("source", "size", "license", "opened_by", "description")
"""Columns that ``--details`` adds."""


def print_resources(*, output_source: TextIO = sys.stdout, details: bool = False) -> None:
    """Print each tag of the catalogue, a tab, and the sources it can be downloaded from.

    Args:
        output_source: Where to.
        details: Add the columns of ``DETAILS``.
    """
    from bionemo.core.data.resource import get_all_resources

    output_source.write("\t".join(["#resource_name", "source_options", *(DETAILS if details else ())]) + "\n")
    for tag, resource in sorted(get_all_resources().items()):
        columns = [tag, ",".join(resource.sources)]
        if details:
            place = resource.hub or resource.ngc or resource.hf or next(iter(resource.https), resource.pbss)
            columns += [text or "-" for text in (place, resource.size, resource.license, resource.opens)]
            columns.append(resource.description or "-")
        output_source.write("\t".join(columns) + "\n")


def run_download(config: DownloadConfig, load: Load, *, default_source: SourceOptions) -> Path | None:
    """List the catalogue, or download one file or all.

    Args:
        config: What was asked for.
        load: Downloads one file.
        default_source: Where to download from unless the config says so.

    Returns:
        Where the one file is, None for a list or for all.

    Raises:
        ResourceError: A tag or source is unknown, or a download failed.
    """
    if config.list_resources:
        print_resources(output_source=sys.stdout, details=config.details)
        return None
    from bionemo.core.data.resource import get_all_resources

    if config.offline:
        os.environ["BIONEMO_OFFLINE"] = "1"
    source = config.source or default_source
    if config.artifact is not None:
        return load(config.artifact, source=source, cache_dir=config.cache_dir).absolute()
    catalogue = {tag: each for tag, each in get_all_resources().items() if each.hub is None}
    failed = []
    for tag in sorted(catalogue):
        try:
            path = load(tag, source=source, cache_dir=config.cache_dir)
            sys.stderr.write(f"  {tag}: {path.absolute()}\n")
        except BionemoError as error:
            failed.append(tag)
            sys.stderr.write(f"  {tag}: failed: {error}\n")
    if failed:
        raise ResourceError(f"{len(failed)} of {len(catalogue)} resources failed: {', '.join(failed)}")
    return None
