# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``infer_esm2``: proteins to vectors, by id and row."""

import sys

from bionemo.core.command import command
from bionemo.esm2.embedding.config import InferESM2Config
from bionemo.llm.training.third_party_warnings import silence_third_parties


main = command(
    InferESM2Config,
    "bionemo.esm2.embedding.infer:run_inference",
    prog="infer_esm2",
    prepare=silence_third_parties,
    example="infer_esm2 --checkpoint-path facebook/esm2_t33_650M_UR50D \\\n    --data-path proteins.fasta "
    "--results-path embeddings --embedding mean",
)


if __name__ == "__main__":
    sys.exit(main())
