# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Lightning data module for webdataset tar files."""

from typing import TYPE_CHECKING

from bionemo.core.lazy import lazy_exports


if TYPE_CHECKING:
    from bionemo.webdatamodule.datamodule import PickledDataWDS, Split, WebDataModule
    from bionemo.webdatamodule.utils import pickles_to_tars


__all__ = ("PickledDataWDS", "Split", "WebDataModule", "pickles_to_tars")

__getattr__ = lazy_exports(
    __name__,
    {
        "PickledDataWDS": "bionemo.webdatamodule.datamodule",
        "Split": "bionemo.webdatamodule.datamodule",
        "WebDataModule": "bionemo.webdatamodule.datamodule",
        "pickles_to_tars": "bionemo.webdatamodule.utils",
    },
)
