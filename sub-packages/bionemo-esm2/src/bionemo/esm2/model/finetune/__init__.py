# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible names of fine-tuning, on the heads and tables of `bionemo.esm2.finetuning`."""
