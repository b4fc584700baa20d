# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``consolidate_checkpoint``: one folder in Hugging Face layout from the shards of a megatron run."""

import sys

from bionemo.core.command import command
from bionemo.llm.checkpoints.consolidate_config import ConsolidateConfig


main = command(
    ConsolidateConfig,
    "bionemo.llm.checkpoints.consolidate:consolidate_run",
    prog="consolidate_checkpoint",
    example="consolidate_checkpoint results/esm2 esm2 --checkpoint best",
)


if __name__ == "__main__":
    sys.exit(main())
