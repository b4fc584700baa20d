# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Small measurements of BioBERT models for tests."""

import lightning.pytorch as pl
import torch

from bionemo.core.errors import DataError
from bionemo.llm.lightning import BionemoLightningModule


def compute_biobert_loss_singlegpu(trainer: pl.Trainer, pl_module: BionemoLightningModule) -> float:
    """Masked-token loss over the first validation batch, on the module's device.

    Args:
        trainer: Has a data module with validation data attached.
        pl_module: The module; its model is built if need be.

    Returns:
        Nats per labeled token.

    Raises:
        DataError: The batch has no labeled token.
    """
    pl_module.configure_model()
    loaders = trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]  # attached by the caller
    batch = pl_module.transfer_batch_to_device(next(iter(loaders)), pl_module.device, 0)
    was_training = pl_module.training
    pl_module.eval()
    with torch.no_grad():
        loss_sum, count = pl_module.loss(batch)
    pl_module.train(was_training)
    if not count:
        raise DataError("the first validation batch has no labelled token: nothing to measure.")
    return (loss_sum / count).item()
