# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BERT-family models on Megatron-core layers, packed batches, training engine and checkpoints."""
