# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Pretrain Geneformer on a GPU node or a laptop: the `train_geneformer` command, called by path.

    python scripts/singlecell/geneformer/train.py --data-dir archives --token-dictionary tokens.json \
        --gene-medians medians.json --max-steps 1000

`--help` lists the flags.
"""

import sys

from bionemo.geneformer.scripts.train_geneformer import main


if __name__ == "__main__":
    sys.exit(main())
