# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``prepare_esm2_data``: FASTA to what pretraining reads."""

import sys

from bionemo.core.command import command
from bionemo.esm2.data.prepare_config import PrepareESM2DataConfig, check_flags


main = command(
    PrepareESM2DataConfig,
    "bionemo.esm2.data.prepare:prepare",
    prog="prepare_esm2_data",
    check=check_flags,
    example="prepare_esm2_data --fasta proteins.fasta.gz --output-dir proteins.store",
)


if __name__ == "__main__":
    sys.exit(main())
