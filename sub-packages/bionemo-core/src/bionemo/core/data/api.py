# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Kept for imports; it offers nothing."""

__all__: tuple[str, ...] = ()
