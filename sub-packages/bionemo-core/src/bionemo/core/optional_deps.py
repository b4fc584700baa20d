# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Import packages that are not always installed."""

import importlib
from types import ModuleType

from bionemo.core.errors import MissingDependencyError


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional module, or say how to get it.

    Args:
        module: Dotted name, for example ``"apex.optimizers"``.
        extra: What to give to pip, for example ``"bionemo-llm[nemo]"``.

    Raises:
        MissingDependencyError: The module is not installed, or it is and fails on import (the message says which).
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = error.name if isinstance(error, ModuleNotFoundError) else None
        if name is not None and (module == name or module.startswith(f"{name}.")):
            found = "is not installed"
        else:
            found = f"is installed but cannot be imported ({type(error).__name__}: {error})"
        raise MissingDependencyError(f"{module} {found}. Install it with: pip install '{extra}'") from error
