# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``gpt-pretrain.py``: pretrain a small GPT on the bytes of a text file."""

import sys

from bionemo.core.command import command
from bionemo.example_model.gpt_config import GPTPretrainConfig


main = command(
    GPTPretrainConfig,
    "bionemo.example_model.gpt:pretrain",
    prog="gpt-pretrain.py",
    example="gpt-pretrain.py --data-path book.txt --num-steps 1000",
)


if __name__ == "__main__":
    sys.exit(main())
