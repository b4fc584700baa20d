# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``convert_geneformer``: any form of Geneformer to another."""

import sys

from bionemo.core.command import command
from bionemo.geneformer.convert_config import ConvertGeneformerConfig


main = command(
    ConvertGeneformerConfig,
    "bionemo.geneformer.convert:convert_geneformer",
    prog="convert_geneformer",
    example="convert_geneformer ctheodoris/Geneformer:Geneformer-V2-104M geneformer-v2",
)


if __name__ == "__main__":
    sys.exit(main())
