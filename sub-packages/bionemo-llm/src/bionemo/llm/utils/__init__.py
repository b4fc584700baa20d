# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Small helpers at their BioNeMo 2 compatible paths: sizes, loggers, settings, downloads, weights."""
