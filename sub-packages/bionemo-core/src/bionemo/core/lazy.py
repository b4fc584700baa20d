# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Names that a package offers but imports only when they are asked for (PEP 562)."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_exports(package: str, exports: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module that offers names from heavier ones.

    Written as ``__getattr__ = lazy_exports(__name__, {"ESM2Model": "bionemo.esm2.model.model"})``.

    Args:
        package: The ``__name__`` of the module that offers the names.
        exports: Each name with the module that defines it; a submodule is given as itself.

    Returns:
        A function that imports on the first access and remembers the object in the package.
    """

    def __getattr__(name: str) -> Any:
        if name not in exports:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])
        module = importlib.import_module(exports[name])
        value = module if exports[name] == f"{package}.{name}" else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__
