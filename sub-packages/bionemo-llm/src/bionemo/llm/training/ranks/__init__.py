# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""How the ranks of a run work together on the lightning engine: meeting, sharding, and noticing a lost one."""
