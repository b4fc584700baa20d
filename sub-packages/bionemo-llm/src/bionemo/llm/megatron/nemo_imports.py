# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Imports NeMo with its warnings silenced, or raises an error that says how to install it."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

from bionemo.core.errors import MissingDependencyError
from bionemo.core.optional_deps import require
from bionemo.llm.training.third_party_warnings import silence_third_parties


EXTRA = "bionemo-llm[nemo]"


def require_nemo() -> None:
    """Import NeMo once, quietly.

    Raises:
        MissingDependencyError: NeMo is not installed, or a package that it needs does not fit.
    """
    with _without_notices():
        require("nemo.lightning.pytorch.strategies", extra=EXTRA)
        core = require("megatron.core", extra=EXTRA)
    if tuple(map(int, core.__version__.split(".")[:2])) != (0, 15):
        raise MissingDependencyError(
            f"megatron-core {core.__version__} is installed, the megatron engine needs 0.15. "
            f'Install it with: pip install "{EXTRA}"'
        )
    silence_third_parties()


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
    """Keep telemetry notices, advice to other users and deprecations of third parties from the terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
