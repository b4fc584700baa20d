# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``convert_geneformer``."""

from dataclasses import dataclass
from typing import Literal

from bionemo.core.config import option
from bionemo.llm.checkpoints.convert_config import ShardingFlags


@dataclass(frozen=True, kw_only=True)
class ConvertGeneformerConfig(ShardingFlags):
    """Convert a Geneformer of any readable form, with its dictionaries."""

    to: Literal["hf", "nemo2", "megatron"] = option(
        "hf",
        help="Form to write; hf: folder that transformers opens; nemo2: folder of BioNeMo Framework 2, of its own "
        "models; megatron: shards of the megatron engine, over the ranks that the parallel sizes say.",
    )
