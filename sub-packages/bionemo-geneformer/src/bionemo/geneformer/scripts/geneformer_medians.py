# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``geneformer_medians``: the medians of a corpus, and a vocabulary of its genes."""

import sys

from bionemo.core.command import command
from bionemo.geneformer.medians_config import GeneformerMediansConfig, check_flags


main = command(
    GeneformerMediansConfig,
    "bionemo.geneformer.compute_medians:compute_medians",
    prog="geneformer_medians",
    check=check_flags,
    example="geneformer_medians --data-path a.h5ad b.h5ad --output-path medians.json",
)


if __name__ == "__main__":
    sys.exit(main())
