# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``score_variants_esm2``: wild types and variants to scores, metrics and heat maps."""

import sys

from bionemo.core.command import command
from bionemo.esm2.variants.config import ScoreVariantsESM2Config
from bionemo.llm.training.third_party_warnings import silence_third_parties


main = command(
    ScoreVariantsESM2Config,
    "bionemo.esm2.variants.run:score_variants",
    prog="score_variants_esm2",
    prepare=silence_third_parties,
    example="score_variants_esm2 --checkpoint-path facebook/esm2_t33_650M_UR50D \\\n    --data-path proteins.fasta "
    "--scan --results-path variants",
)


if __name__ == "__main__":
    sys.exit(main())
