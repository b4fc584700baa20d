# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BERT-family models on Megatron-core layers, packed batches, training engine and checkpoints."""

from typing import TYPE_CHECKING

from bionemo.core.lazy import lazy_exports


if TYPE_CHECKING:
    from bionemo.llm.checkpoints.consolidate import consolidate
    from bionemo.llm.lightning import BionemoLightningModule
    from bionemo.llm.model.biobert.config import BioBertConfig
    from bionemo.llm.model.biobert.model import MegatronBioBertModel
    from bionemo.llm.training.config import PretrainConfig


__all__ = ("BioBertConfig", "BionemoLightningModule", "MegatronBioBertModel", "PretrainConfig", "consolidate")

__getattr__ = lazy_exports(
    __name__,
    {
        "BioBertConfig": "bionemo.llm.model.biobert.config",
        "BionemoLightningModule": "bionemo.llm.lightning",
        "MegatronBioBertModel": "bionemo.llm.model.biobert.model",
        "PretrainConfig": "bionemo.llm.training.config",
        "consolidate": "bionemo.llm.checkpoints.consolidate",
    },
)
