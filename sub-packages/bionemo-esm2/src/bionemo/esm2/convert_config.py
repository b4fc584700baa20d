# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``convert_esm2``."""

from dataclasses import dataclass
from typing import Literal

from bionemo.core.config import option
from bionemo.llm.checkpoints.convert_config import ShardingFlags


@dataclass(frozen=True, kw_only=True)
class ConvertESM2Config(ShardingFlags):
    """Convert an ESM-2 of any readable form to another one."""

    to: Literal["hf", "fair-esm", "nemo2", "megatron"] = option(
        "hf",
        help="Form to write; hf: folder that transformers opens; fair-esm: esm2_NAME.pt, with "
        "esm2_NAME-contact-regression.pt beside it; nemo2: folder of BioNeMo Framework 2; megatron: shards of the "
        "megatron engine, over the ranks that the parallel sizes say.",
    )
