# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The first bytes of every archive header."""

SCDL_MAGIC_NUMBER: bytes = b"SCDL"
