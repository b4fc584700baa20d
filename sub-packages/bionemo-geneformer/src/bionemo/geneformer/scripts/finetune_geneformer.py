# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``finetune_geneformer``: classes or values of cells, or classes of genes, on top of a pretrained Geneformer."""

import sys

from bionemo.core.command import command
from bionemo.geneformer.finetune_config import FinetuneGeneformerConfig, check_flags


main = command(
    FinetuneGeneformerConfig,
    "bionemo.geneformer.finetune:finetune",
    prog="finetune_geneformer",
    check=check_flags,
    example="finetune_geneformer --restore-from-checkpoint-path geneformer \\\n"
    "    --train-data-path cells.h5ad --label-column cell_type",
)


if __name__ == "__main__":
    sys.exit(main())
