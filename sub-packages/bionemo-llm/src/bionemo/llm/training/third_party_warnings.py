# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Silences what third parties say that tells a user of our commands nothing; some of it is said at their import."""

import logging
import warnings


LOGGERS = ("lightning.pytorch", "lightning.fabric", "megatron.core.utils", "nemo_logger")
MESSAGES = (
    ".*does not have many workers.*",
    ".*Transformer Engine and Apex are not installed.*",
    ".*Failed to create unified memory mempool.*",
    ".*LeafSpec.*is deprecated.*",
    ".*IterableDataset.*has .__len__. defined.*",
    ".*is smaller than the logging interval.*",
    ".*Checkpoint directory.*",
    ".*overridden `transfer_batch_to_device`.*",
    ".*but have no `val_dataloader`.*",
    ".*all_gather_into_tensor. is deprecated.*",
    ".*reduce_scatter_tensor. is deprecated.*",
    ".*CUDA_DEVICE_MAX_CONNECTIONS.*",
)


def silence_third_parties() -> None:
    """Set the level of their loggers to ERROR, and ignore these warnings."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in MESSAGES:
        warnings.filterwarnings("ignore", message=message)
