# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Names of precisions and the torch dtypes they stand for."""

from typing import Literal

import torch

from bionemo.core.errors import ConfigError


__all__ = ("PrecisionTypes", "dtype_to_precision", "get_autocast_dtype", "precision_to_dtype")

PrecisionTypes = Literal["fp16", "bf16", "fp32", "bf16-mixed", "fp32-mixed", "16-mixed", "fp16-mixed", 16, 32]

precision_to_dtype: dict[PrecisionTypes, torch.dtype] = {
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp32": torch.float32,
    "bf16-mixed": torch.bfloat16,
    "fp32-mixed": torch.float32,
    "16-mixed": torch.float16,
    "fp16-mixed": torch.float16,
    16: torch.float16,
    32: torch.float32,
}

dtype_to_precision: dict[torch.dtype, PrecisionTypes] = {
    torch.float16: 16,
    torch.bfloat16: "bf16-mixed",
    torch.float32: 32,
}


def get_autocast_dtype(precision: PrecisionTypes) -> torch.dtype:
    """Find the dtype in which matrix products of a precision are computed.

    Raises:
        ConfigError: The precision is none of ``PrecisionTypes``.
    """
    if precision not in precision_to_dtype:
        raise ConfigError(f"Unsupported precision: {precision}")
    return precision_to_dtype[precision]
