# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible path of `Label2IDTokenizer`."""

from bionemo.llm.data.label2id_tokenizer import Label2IDTokenizer


__all__ = ["Label2IDTokenizer"]
