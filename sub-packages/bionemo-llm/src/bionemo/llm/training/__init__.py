# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Pretraining: the settings of a run, the loop shared by both engines, the lightning engine, logs and pictures."""
