# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``convert_esm2``."""

from dataclasses import dataclass
from typing import Literal

from bionemo.core.config import option
from bionemo.llm.checkpoints.convert_config import ConversionFlags


@dataclass(frozen=True, kw_only=True)
class ConvertESM2Config(ConversionFlags):
    """Convert an ESM-2 of any readable form to a Hugging Face folder or a fair-esm file."""

    to: Literal["hf", "fair-esm"] = option(
        "hf",
        help="Form to write; hf: folder that transformers opens; fair-esm: esm2_NAME.pt, with "
        "esm2_NAME-contact-regression.pt beside it.",
    )
