# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``train_geneformer``: pretrain Geneformer from SCDL archives or from tokenized cells."""

import sys

from bionemo.core.command import command
from bionemo.geneformer.train_config import TrainGeneformerConfig, check_flags
from bionemo.llm.training.third_party_warnings import silence_third_parties


main = command(
    TrainGeneformerConfig,
    "bionemo.geneformer.train:train",
    prog="train_geneformer",
    check=check_flags,
    prepare=silence_third_parties,
    example="train_geneformer --data-dir archives --token-dictionary tokens.json \\\n"
    "    --gene-medians medians.json --num-steps 1000",
)


if __name__ == "__main__":
    sys.exit(main())
