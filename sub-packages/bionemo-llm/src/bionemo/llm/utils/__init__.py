# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Small helpers at their established paths: sizes, loggers, settings, downloads, weights."""
