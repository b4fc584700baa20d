# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Download test data: the same functions as ``bionemo.core.data.load``."""

from bionemo.core.lazy import lazy_exports


__all__ = ["default_ngc_client", "default_pbss_client", "entrypoint", "load"]  # noqa: F822 lazy

__getattr__ = lazy_exports(__name__, dict.fromkeys(__all__, "bionemo.core.data.load"))
