# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Proteins as vectors: per sequence and per residue, logits and pseudo-perplexity, written by id and row."""
