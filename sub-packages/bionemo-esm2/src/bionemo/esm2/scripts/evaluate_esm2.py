# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``evaluate_esm2``: a model and local data sets to one report."""

import sys

from bionemo.core.command import command
from bionemo.esm2.evaluation.config import EvaluateESM2Config
from bionemo.llm.training.third_party_warnings import silence_third_parties


main = command(
    EvaluateESM2Config,
    "bionemo.esm2.evaluation.run:run_evaluation",
    prog="evaluate_esm2",
    prepare=silence_third_parties,
    example="evaluate_esm2 --checkpoint-path facebook/esm2_t6_8M_UR50D \\\n    --data-path assays/ splits/ "
    "--results-path report",
)


if __name__ == "__main__":
    sys.exit(main())
