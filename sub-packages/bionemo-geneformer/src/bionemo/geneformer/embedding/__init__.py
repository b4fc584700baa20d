# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Cells and genes as vectors: pooling hidden states, writing them by cell id, and judging them."""
