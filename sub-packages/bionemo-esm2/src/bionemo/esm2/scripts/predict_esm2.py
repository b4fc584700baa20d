# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``predict_esm2``: proteins to labels, with a model of ``finetune_esm2``."""

import sys

from bionemo.core.command import command
from bionemo.esm2.finetuning.config import PredictESM2Config
from bionemo.llm.training.third_party_warnings import silence_third_parties


main = command(
    PredictESM2Config,
    "bionemo.esm2.finetuning.predict:run_prediction",
    prog="predict_esm2",
    prepare=silence_third_parties,
    example="predict_esm2 --checkpoint-path results/esm2-finetune --data-path x.fasta \\\n    "
    "--results-path predictions",
)


if __name__ == "__main__":
    sys.exit(main())
