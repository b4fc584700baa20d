# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Dividing proteins into training and validation: the way of every model."""

from bionemo.llm.data.splits import split_train_valid


__all__ = ["split_train_valid"]
