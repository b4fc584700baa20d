# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Pretraining: settings of a run, the loop shared by both training engines, the lightning engine, logs."""
