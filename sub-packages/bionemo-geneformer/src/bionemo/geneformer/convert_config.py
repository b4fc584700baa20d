# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``convert_geneformer``."""

from dataclasses import dataclass

from bionemo.llm.checkpoints.convert_config import ConversionFlags


@dataclass(frozen=True, kw_only=True)
class ConvertGeneformerConfig(ConversionFlags):
    """Convert a Geneformer of any readable form to a Hugging Face folder with its dictionaries."""
