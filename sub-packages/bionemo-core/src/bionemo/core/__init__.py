# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""High-level interfaces, data sampling, atomic files and errors that every BioNeMo package shares."""

import os
from pathlib import Path

import platformdirs


__all__ = ("BIONEMO_CACHE_DIR",)

BIONEMO_CACHE_DIR = Path(
    os.environ.get("BIONEMO_CACHE_DIR") or platformdirs.user_cache_dir(appname="bionemo", appauthor="nvidia")
)
"""Where downloads are kept; made on the first write. The environment variable of the same name sets it."""
