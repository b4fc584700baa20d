# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a command's partitions depend on: a run is resumed only with the same."""

import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from bionemo.core.config import to_mapping
from bionemo.esm2.data.tokenizer import VOCABULARY
from bionemo.llm.checkpoints.hf_directory import file_checksum
from bionemo.llm.checkpoints.model_source import model_fingerprint


def run_fingerprint(
    config: Any, files: Sequence[Path], *, without: Collection[str], tokens_per_batch: int, precision: str
) -> dict[str, Any]:
    """Return everything that decides on the content of the partitions.

    Args:
        config: Settings of the command, with a ``checkpoint_path``.
        files: The input.
        without: Settings that do not change the partitions.
        tokens_per_batch: Tokens of a packed batch, as resolved.
        precision: Lightning's name of it, as resolved.
    """
    settings = {name: value for name, value in to_mapping(config).items() if name not in without}
    return settings | {
        "input": [file_checksum(file) for file in files],
        "weights": model_fingerprint(config.checkpoint_path),
        "tokenizer": zlib.crc32(" ".join(VOCABULARY).encode()),
        "tokens_per_batch": tokens_per_batch,
        "precision": precision,
    }
