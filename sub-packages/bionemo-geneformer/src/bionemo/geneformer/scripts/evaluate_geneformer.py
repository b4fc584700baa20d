# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``evaluate_geneformer``: embeddings beside plain baselines on the same cells."""

import sys

from bionemo.core.command import command
from bionemo.geneformer.evaluation.config import EvaluateGeneformerConfig


main = command(
    EvaluateGeneformerConfig,
    "bionemo.geneformer.evaluation.run:run_evaluation",
    prog="evaluate_geneformer",
    example="evaluate_geneformer --data-path cells.h5ad --embeddings-path embeddings \\\n"
    "    --label-column cell_type --results-path report",
)


if __name__ == "__main__":
    sys.exit(main())
