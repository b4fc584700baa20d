# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Where downloads are kept."""

import os
from pathlib import Path

import platformdirs


BIONEMO_CACHE_DIR = Path(
    os.environ.get("BIONEMO_CACHE_DIR") or platformdirs.user_cache_dir(appname="bionemo", appauthor="nvidia")
)
"""Folder of downloads; made on the first write. The environment variable of the same name sets it."""
