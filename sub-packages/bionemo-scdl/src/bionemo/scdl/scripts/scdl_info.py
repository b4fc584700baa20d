# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``scdl_info``: what an archive holds, and whether it is sound."""

import sys

from bionemo.core.command import command
from bionemo.scdl.info_config import InfoConfig


main = command(
    InfoConfig,
    "bionemo.scdl.info:show_info",
    prog="scdl_info",
    example="scdl_info archive --verify",
)


if __name__ == "__main__":
    sys.exit(main())
