# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m bionemo.example_model``."""

import sys

from bionemo.example_model.scripts.example_model import main


if __name__ == "__main__":
    sys.exit(main())
