# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""In-silico perturbation: edit a cell's genes, see how far the model's embedding moves, and whether that is much."""
