# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``convert_esm2``: any form of ESM-2 to another."""

import sys

from bionemo.core.command import command
from bionemo.esm2.convert_config import ConvertESM2Config


main = command(
    ConvertESM2Config,
    "bionemo.esm2.convert:convert_esm2",
    prog="convert_esm2",
    example="convert_esm2 facebook/esm2_t6_8M_UR50D esm2_t6_8M_UR50D.pt --to fair-esm",
)


if __name__ == "__main__":
    sys.exit(main())
