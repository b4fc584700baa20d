# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``infer_geneformer``: cells to embeddings, by cell id."""

import sys

from bionemo.core.command import command
from bionemo.geneformer.embedding.config import InferGeneformerConfig


main = command(
    InferGeneformerConfig,
    "bionemo.geneformer.embedding.infer:run_inference",
    prog="infer_geneformer",
    example="infer_geneformer --checkpoint-path geneformer --data-path cells.h5ad \\\n    --results-path embeddings",
)


if __name__ == "__main__":
    sys.exit(main())
