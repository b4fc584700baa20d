# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The loader of bionemo-core on this package's own catalogue, ``resources/scdl.yaml``."""

from pathlib import Path
from typing import TYPE_CHECKING

from bionemo.core.lazy import lazy_exports


if TYPE_CHECKING:
    from bionemo.core.data.download_config import SourceOptions
    from bionemo.core.data.resource import Resource


__getattr__ = lazy_exports(
    __name__,
    {
        "NGCDownloader": "bionemo.core.data.load",
        "Resource": "bionemo.core.data.resource",
        "default_ngc_client": "bionemo.core.data.load",
        "default_pbss_client": "bionemo.core.data.load",
    },
)


def load(
    model_or_data_tag: str,
    source: "SourceOptions | None" = None,
    resources: "dict[str, Resource] | None" = None,
    cache_dir: Path | None = None,
) -> Path:
    """Find a sample archive in the cache, or download it there; see :func:`bionemo.core.data.load.load`.

    Args:
        model_or_data_tag: For example ``"scdl/sample"``.
        source: Where to download from; ``BIONEMO_DATA_SOURCE``, else the first public one, unless given.
        resources: The catalogue; this package's own unless given.
        cache_dir: The cache; ``BIONEMO_CACHE_DIR`` unless given.
    """
    from bionemo.core.data import load as core_load

    catalogue = get_all_resources() if resources is None else resources
    return core_load.load(model_or_data_tag, source or core_load.DEFAULT_SOURCE, catalogue, cache_dir)


def get_all_resources(resource_path: Path | None = None) -> "dict[str, Resource]":
    """Read a catalogue, this package's own unless another folder is given; each resource by its tag."""
    from bionemo.core.data import resource

    return resource.get_all_resources(resource_path or Path(__file__).parent / "resources")
