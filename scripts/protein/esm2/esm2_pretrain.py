# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Pretrain ESM-2 on a GPU node or a laptop: the `train_esm2` command, called by path.

    python scripts/protein/esm2/esm2_pretrain.py --train-fasta proteins.fasta.gz --model 8M --max-steps 1000

`--help` lists the flags.
"""

import sys

from bionemo.esm2.scripts.train_esm2 import main


if __name__ == "__main__":
    sys.exit(main())
