# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Protein sequences: vocabulary, FASTA, sequence store, data sets and data module of ESM-2."""
