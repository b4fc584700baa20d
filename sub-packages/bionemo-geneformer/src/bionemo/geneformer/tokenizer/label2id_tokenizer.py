# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The established place of `Label2IDTokenizer`."""

from bionemo.llm.data.label2id_tokenizer import Label2IDTokenizer


__all__ = ["Label2IDTokenizer"]
