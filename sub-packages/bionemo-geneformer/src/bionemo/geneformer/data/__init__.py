# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""From counts to tokens: dictionaries, rank-value encoding, and the cells that models read."""
