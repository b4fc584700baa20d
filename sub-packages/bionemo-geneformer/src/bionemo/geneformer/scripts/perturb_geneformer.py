# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``perturb_geneformer``: in-silico perturbation with statistics."""

import sys

from bionemo.core.command import command
from bionemo.geneformer.perturbation.config import PerturbGeneformerConfig, check_flags


main = command(
    PerturbGeneformerConfig,
    "bionemo.geneformer.perturbation.run:run_perturbation",
    prog="perturb_geneformer",
    check=check_flags,
    example="perturb_geneformer --checkpoint-path geneformer --data-path cells.h5ad \\\n"
    "    --perturb-type delete --genes TP53 --results-path shifts",
)


if __name__ == "__main__":
    sys.exit(main())
