# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``tokenize_geneformer``: counts to a token set."""

import sys

from bionemo.core.command import command
from bionemo.geneformer.tokenize_config import TokenizeGeneformerConfig


main = command(
    TokenizeGeneformerConfig,
    "bionemo.geneformer.tokenize_counts:tokenize_counts",
    prog="tokenize_geneformer",
    example="tokenize_geneformer --data-path cells.h5ad --model V2 --output-path tokens \\\n"
    "    --token-dictionary tokens.json --gene-medians medians.json",
)


if __name__ == "__main__":
    sys.exit(main())
