# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A minimal MNIST example of a BioNeMo model."""

from typing import TYPE_CHECKING

from bionemo.core.lazy import lazy_exports


if TYPE_CHECKING:
    from bionemo.example_model.lightning_basic import ExampleModel, MNISTDataModule


__all__ = ("ExampleModel", "MNISTDataModule")

__getattr__ = lazy_exports(
    __name__,
    {
        "ExampleModel": "bionemo.example_model.lightning_basic",
        "MNISTDataModule": "bionemo.example_model.lightning_basic",
    },
)
