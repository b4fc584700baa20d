# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Putting a checkpoint's weights into a model that is not quite the same: fine-tuning heads come or go."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from bionemo.llm.checkpoints.hf_directory import load_state


logger = logging.getLogger(__name__)


def load_weights_skipping_prefixes(
    model: nn.Module, state: Mapping[str, Tensor], skip_prefixes: Iterable[str], source: str | Path
) -> list[str]:
    """Copy a state dict into a model, except what begins with one of the prefixes; that stays as initialized.

    Args:
        model: Takes the weights. Its remaining names and shapes have to be exactly those of ``state``.
        state: Weights under the model's own names.
        skip_prefixes: For example ``["regression_head"]``: such names may be missing on either side.
        source: Where the weights come from, for messages.

    Returns:
        The model's names that were skipped, sorted; they are logged as well.

    Raises:
        CheckpointError: Names or shapes differ beyond the prefixes. The model is then unchanged.
    """
    prefixes = tuple(skip_prefixes)
    own = model.state_dict()
    skipped = sorted(name for name in own if name.startswith(prefixes))
    taken = {name: tensor for name, tensor in state.items() if not name.startswith(prefixes)}
    # The model's own tensors stand in for the skipped ones, so that everything else is compared strictly.
    load_state(model, {**taken, **{name: own[name] for name in skipped}}, source)
    if skipped:
        logger.info("%s: %d parameters keep their initial values, first %s.", source, len(skipped), skipped[0])
    return skipped
