# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The names of :mod:`bionemo.example_model.lightning_basic`, at their later place."""

from typing import Any

from bionemo.example_model import lightning_basic


def __getattr__(name: str) -> Any:
    return getattr(lightning_basic, name)
