# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Sample archives of single cells, downloaded on request."""

from bionemo.core.lazy import lazy_exports
from bionemo.scdl.data.load import get_all_resources, load


__all__ = ("NGCDownloader", "Resource", "default_ngc_client", "default_pbss_client", "get_all_resources", "load")

__getattr__ = lazy_exports(
    __name__,
    {
        "NGCDownloader": "bionemo.core.data.load",
        "Resource": "bionemo.core.data.resource",
        "default_ngc_client": "bionemo.core.data.load",
        "default_pbss_client": "bionemo.core.data.load",
    },
)
