# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Every error that BioNeMo packages raise on purpose.

Each class is also the builtin that callers expect at that place, so ``except ValueError`` keeps working. A message is
one string that names the file, record or flag, what was found, what was expected and what to do. Commands turn these
into one line on stderr and an exit status: bad input is 2, a failed run is 1.
"""

EXIT_FAILED_RUN = 1
EXIT_BAD_INPUT = 2


class BionemoError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = EXIT_FAILED_RUN


class ConfigError(BionemoError, ValueError):
    """A setting is impossible or contradicts another one."""

    exit_code = EXIT_BAD_INPUT


class DataError(BionemoError, ValueError):
    """Input data hold values that cannot be used."""

    exit_code = EXIT_BAD_INPUT


class FormatError(DataError):
    """A header, dtype or length does not match the file it describes."""


class DataFileError(BionemoError, OSError):
    """A file is truncated, unreadable or cannot be written."""

    exit_code = EXIT_BAD_INPUT


class MissingFileError(DataFileError, FileNotFoundError):
    """A file or folder that was named does not exist."""


class ResourceError(BionemoError, ValueError):
    """A download tag or source is unknown, or a download failed."""


class ChecksumError(ResourceError):
    """A file's digest differs from the recorded one."""


class CheckpointError(BionemoError, RuntimeError):
    """A checkpoint is damaged, incomplete or of another shape than the model."""

    exit_code = EXIT_BAD_INPUT


class ParallelismError(BionemoError, RuntimeError):
    """Ranks, devices or parallel sizes do not fit together."""

    exit_code = EXIT_BAD_INPUT


class MissingDependencyError(BionemoError, ImportError):
    """An optional package is needed and not installed; the message says how to install it."""

    exit_code = EXIT_BAD_INPUT
