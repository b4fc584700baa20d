# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Names of checkpoint layouts, so that a checkpoint says which model family can read its tensors."""

import importlib
from typing import Any

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.hf_directory import HuggingFaceLayout


def layout_name(layout: HuggingFaceLayout[Any]) -> str:
    """Name a layout's class for the record."""
    return f"{type(layout).__module__}:{type(layout).__qualname__}"


def find_layout(name: str) -> HuggingFaceLayout[Any]:
    """Build a layout from its recorded name.

    Raises:
        CheckpointError: It is not one of ours, or its package is not installed.
    """
    module, _, attribute = name.partition(":")
    if not module.startswith("bionemo.") or not attribute.endswith("Layout"):
        raise CheckpointError(f"{name}: not the name of a checkpoint layout of a BioNeMo package.")
    try:
        layout: HuggingFaceLayout[Any] = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError) as error:
        package = "-".join(module.split(".")[:2])
        raise CheckpointError(f"{name}: cannot be imported ({error}). Install {package}.") from error
    return layout
