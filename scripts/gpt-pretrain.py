# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Pretrain a small GPT on the bytes of a text file: ``python scripts/gpt-pretrain.py --data-path book.txt``."""

import sys

from bionemo.example_model.scripts.gpt_pretrain import main


if __name__ == "__main__":
    sys.exit(main())
