# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``finetune_esm2``: a pretrained ESM-2 and labeled proteins to a model that predicts labels."""

import sys

from bionemo.core.command import command
from bionemo.esm2.finetuning.config import FinetuneESM2Config, check_flags
from bionemo.llm.training.third_party_warnings import silence_third_parties


main = command(
    FinetuneESM2Config,
    "bionemo.esm2.finetuning.finetune:finetune",
    prog="finetune_esm2",
    check=check_flags,
    prepare=silence_third_parties,
    example="finetune_esm2 --restore-from-checkpoint-path facebook/esm2_t6_8M_UR50D \\\n    --train-data-path "
    "proteins.csv --label-column stability --split cluster",
)


if __name__ == "__main__":
    sys.exit(main())
