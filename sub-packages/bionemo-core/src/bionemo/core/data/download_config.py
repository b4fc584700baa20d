# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``download_bionemo_data``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.config import option
from bionemo.core.errors import ConfigError


SourceOptions = Literal["auto", "https", "hf", "ngc", "pbss"]


@dataclass(frozen=True, kw_only=True)
class DownloadConfig:
    """Download a model or data file, checked by its digest, and print where it is."""

    artifact: str | None = option(None, positional=True, help="Tag of the file, for example esm2/650m:2.0.")
    list_resources: bool = option(False, help="List all tags with the sources that each can be downloaded from.")
    details: bool = option(
        False, help="With --list-resources: also description, source, size, license, and the command that opens it."
    )
    download_all: bool = option(
        False, flag="--all", help="Download every file of the catalogue; not models of the Hub, which open by name."
    )
    source: SourceOptions | None = option(
        None, help="Where to download from. None: what BIONEMO_DATA_SOURCE says, else auto, the first public one."
    )
    cache_dir: Path | None = option(None, help="Where files are kept. None: BIONEMO_CACHE_DIR.")
    offline: bool = option(False, help="Take files from the cache only, as BIONEMO_OFFLINE=1 does.")

    def __post_init__(self) -> None:
        if (self.artifact is not None) + self.list_resources + self.download_all != 1:
            raise ConfigError("You must provide an artifact name if --list-resources or --all is not set!")
        if self.details and not self.list_resources:
            raise ConfigError("--details: belongs to --list-resources.")
