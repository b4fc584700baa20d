# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""ESM-2: data preparation, pretraining, embeddings, fine-tuning and Hugging Face checkpoints."""

from typing import TYPE_CHECKING

from bionemo.core.lazy import lazy_exports


if TYPE_CHECKING:
    from bionemo.esm2.api import build_esm2, load_esm2, save_esm2
    from bionemo.esm2.embedding.results import open_embeddings
    from bionemo.esm2.esm2 import ESM2
    from bionemo.esm2.finetuning.config import FinetuneESM2Config
    from bionemo.esm2.finetuning.finetuned import FinetunedESM2
    from bionemo.esm2.model.model import ESM2Config, esm2_config
    from bionemo.esm2.train_config import TrainESM2Config


__all__ = (
    "ESM2",
    "ESM2Config",
    "FinetuneESM2Config",
    "FinetunedESM2",
    "TrainESM2Config",
    "build_esm2",
    "esm2_config",
    "load_esm2",
    "open_embeddings",
    "save_esm2",
)

__getattr__ = lazy_exports(
    __name__,
    {
        "ESM2": "bionemo.esm2.esm2",
        "ESM2Config": "bionemo.esm2.model.model",
        "FinetuneESM2Config": "bionemo.esm2.finetuning.config",
        "FinetunedESM2": "bionemo.esm2.finetuning.finetuned",
        "build_esm2": "bionemo.esm2.api",
        "esm2_config": "bionemo.esm2.model.model",
        "load_esm2": "bionemo.esm2.api",
        "open_embeddings": "bionemo.esm2.embedding.results",
        "save_esm2": "bionemo.esm2.api",
        "TrainESM2Config": "bionemo.esm2.train_config",
    },
)
