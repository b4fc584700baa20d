# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Train Geneformer on a GPU node: not possible in this version, and running it says so."""

import sys


if __name__ == "__main__":
    print("train.py: error: this version of bionemo-geneformer cannot train yet.", file=sys.stderr)
    sys.exit(2)
