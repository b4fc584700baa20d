# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Variable-length attention kernels for GPUs, one module each, and the choice among them (`kernels`)."""
