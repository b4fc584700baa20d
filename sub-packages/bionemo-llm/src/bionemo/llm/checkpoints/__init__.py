# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: the Hugging Face directory, the training state beside it, and shards of model-parallel runs."""
