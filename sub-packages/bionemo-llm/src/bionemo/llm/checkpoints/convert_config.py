# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings that the commands which convert a model share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.config import option, option_like
from bionemo.core.flag_groups import OUTPUT, FlagGroup, SharedFlags
from bionemo.llm.training.config import PretrainConfig
from bionemo.llm.training.parallel_config import ParallelConfig


@dataclass(frozen=True, kw_only=True)
class ConversionFlags(FlagGroup):
    """What to convert, and where to."""

    source: str = option(
        positional=True,
        help="Model: folder, file, run folder, or name on the Hugging Face Hub (owner/name[@revision][:subfolder]).",
    )
    out_path: Path = option(positional=True, help="Where to; appears whole or not at all.")
    dtype: Literal["float32", "float16", "bfloat16"] = option(
        "float32", group=OUTPUT, help="Data type of the written weights; float32 holds every source exactly."
    )
    overwrite: bool = option_like(SharedFlags, "overwrite", False)


@dataclass(frozen=True, kw_only=True)
class ShardingFlags(ConversionFlags):
    """Over how many ranks the shards of the megatron engine are split."""

    tensor_model_parallel_size: int = option_like(PretrainConfig, "tensor_model_parallel_size", 1)
    pipeline_model_parallel_size: int = option_like(PretrainConfig, "pipeline_model_parallel_size", 1)

    def parallel(self) -> ParallelConfig:
        """Return the layout."""
        return ParallelConfig(
            tensor_model_parallel_size=self.tensor_model_parallel_size,
            pipeline_model_parallel_size=self.pipeline_model_parallel_size,
        )
