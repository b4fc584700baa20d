# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``convert_h5ad_to_scdl``: all h5ad files below a folder become one archive."""

import sys

from bionemo.core.command import command
from bionemo.scdl.convert_config import ConvertConfig, check_flags


main = command(
    ConvertConfig,
    "bionemo.scdl.convert:convert",
    prog="convert_h5ad_to_scdl",
    check=check_flags,
    example="convert_h5ad_to_scdl --data-path h5ad --save-path archive",
)


if __name__ == "__main__":
    sys.exit(main())
