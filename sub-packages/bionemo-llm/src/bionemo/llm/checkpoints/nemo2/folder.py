# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Where the parts of a NeMo 2 checkpoint are, in a folder or in a tar archive of one."""

import logging
import shutil
import tempfile
import weakref
from pathlib import Path

from bionemo.core.data.unpack import unpack_tar_file
from bionemo.core.errors import CheckpointError, FormatError, ResourceError
from bionemo.llm.checkpoints.nemo2.dist_metadata import METADATA_FILE


logger = logging.getLogger(__name__)

TAR_ENDINGS = (".tar.gz", ".tgz", ".tar")
WEIGHTS_DIR = "weights"
CONTEXT_DIR = "context"
CONTEXT_FILE = "io.json"


class NemoFolder:
    """A NeMo 2 checkpoint on disk.

    Args:
        root: Its folder.
        temporary: A folder to remove when this object is no longer used.
    """

    def __init__(self, root: Path, temporary: Path | None = None) -> None:
        self.root = root
        self.weights = root / WEIGHTS_DIR if (root / WEIGHTS_DIR).is_dir() else root
        self.context = root / CONTEXT_DIR if (root / CONTEXT_DIR).is_dir() else root
        if temporary is not None:
            weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)


def is_tar(path: Path) -> bool:
    """Return whether a file is a tar archive by its name."""
    return path.name.endswith(TAR_ENDINGS) and path.is_file()


def find_root(path: Path) -> Path | None:
    """Return the folder of a NeMo 2 checkpoint: the path itself, its parent for ``weights``, or its only subfolder.

    An unpacked archive holds the checkpoint's folder and nothing else.
    """
    if not path.is_dir():
        return None
    if path.name == WEIGHTS_DIR and (path.parent / CONTEXT_DIR / CONTEXT_FILE).is_file():
        return path.parent
    if (path / CONTEXT_DIR / CONTEXT_FILE).is_file() or has_weights(path / WEIGHTS_DIR) or has_weights(path):
        return path
    inner = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    return find_root(inner[0]) if len(inner) == 1 else None


def has_weights(path: Path) -> bool:
    """Return whether a folder holds the tensors of a distributed checkpoint, of either backend."""
    return (path / METADATA_FILE).is_file() or next(path.glob("module.*/.zarray"), None) is not None


def open_folder(path: Path) -> NemoFolder:
    """Open a folder, or unpack an archive into a temporary one.

    Raises:
        CheckpointError: It holds no NeMo 2 checkpoint, or the archive is damaged or has members that would be written
            elsewhere.
    """
    if not is_tar(path):
        root = find_root(path)
        if root is None:
            raise CheckpointError(f"{path}: holds no NeMo 2 checkpoint.")
        return NemoFolder(root)
    temporary = Path(tempfile.mkdtemp(prefix="bionemo-nemo2-"))
    logger.info("%s: unpacking into a temporary folder, %s; an unpacked folder opens at once", path, temporary)
    try:
        unpack_tar_file(path, temporary / "unpacked")
        root = find_root(temporary / "unpacked")
        if root is None:
            raise CheckpointError(f"{path}: holds no NeMo 2 checkpoint.")
        return NemoFolder(root, temporary)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, (FormatError, ResourceError, OSError)):
            raise CheckpointError(f"{path}: cannot be unpacked ({error}).") from error
        raise
