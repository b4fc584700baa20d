# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Single-cell data loader: memory-mapped archives of sparse count matrices."""
