# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What can be downloaded: the same names as ``bionemo.core.data.resource``."""

from bionemo.core.lazy import lazy_exports


__all__ = ["Resource", "get_all_resources"]  # noqa: F822 lazy

__getattr__ = lazy_exports(__name__, dict.fromkeys(__all__, "bionemo.core.data.resource"))
