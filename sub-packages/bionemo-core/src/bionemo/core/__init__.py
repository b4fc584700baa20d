# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""High-level interfaces, data sampling, atomic files and errors that every BioNeMo package shares."""

from typing import TYPE_CHECKING

from bionemo.core.cache_dir import BIONEMO_CACHE_DIR
from bionemo.core.lazy import lazy_exports


if TYPE_CHECKING:
    from bionemo.core.data.load import load
    from bionemo.core.errors import BionemoError


__all__ = ("BIONEMO_CACHE_DIR", "BionemoError", "load")

__getattr__ = lazy_exports(__name__, {"BionemoError": "bionemo.core.errors", "load": "bionemo.core.data.load"})
