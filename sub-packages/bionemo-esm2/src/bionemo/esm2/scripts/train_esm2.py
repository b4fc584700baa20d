# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``train_esm2``: pretrain ESM-2 from FASTA files or from cluster and database files."""

import sys

from bionemo.core.command import command
from bionemo.esm2.train_config import TrainESM2Config, check_flags
from bionemo.llm.training.third_party_warnings import silence_third_parties


main = command(
    TrainESM2Config,
    "bionemo.esm2.train:train",
    prog="train_esm2",
    check=check_flags,
    prepare=silence_third_parties,
    example="train_esm2 --train-fasta proteins.fasta --model 8M --num-steps 1000",
)


if __name__ == "__main__":
    sys.exit(main())
