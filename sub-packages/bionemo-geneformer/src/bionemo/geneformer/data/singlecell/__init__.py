# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible data set and data module of cells: padded, masked samples from SCDL archives."""
