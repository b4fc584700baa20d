# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""One resolver for everything that names a model: a folder or file, a run of ours, or a name on the Hub."""

import logging
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.forms import load_any_form
from bionemo.llm.checkpoints.hf_directory import CONFIG_FILE, HuggingFaceLayout, LoadedModel, file_checksum
from bionemo.llm.checkpoints.hub import HubRepository, parse_hub_name
from bionemo.llm.training.run_directory import RunDirectory


logger = logging.getLogger(__name__)

ModelSource = str | os.PathLike[str]
"""Folder, file, or ``owner/name[@revision][:subfolder]``."""


class LocatedModel(NamedTuple):
    """Where a model lies on disk.

    Attributes:
        path: Folder or file.
        repository: The Hub repository that it came from, for further files; None: it was on disk.
    """

    path: Path
    repository: HubRepository | None = None


def locate_model(source: ModelSource) -> LocatedModel:
    """Find a model on disk, or download it.

    Args:
        source: An existing path wins. Of a run's folder it is the best checkpoint, else the last one. Other texts of
            the form ``owner/name[@revision][:subfolder]`` are looked up on the Hugging Face Hub, or in its cache.

    Returns:
        Folder or file of the model.

    Raises:
        CheckpointError: There is no such path and no such name, or the download failed.
    """
    path = Path(source).expanduser()
    name = parse_hub_name(os.fspath(source))
    if path.exists():
        if name is not None:
            logger.info("%s: a path on this machine, which wins over a name on the Hugging Face Hub", source)
        return LocatedModel(checkpoint_of_run(path))
    if name is None:
        raise CheckpointError(
            f"{source}: no such directory or file, and no name on the Hugging Face Hub "
            "(owner/name, with @revision and :subfolder where needed)."
        )
    try:
        repository = HubRepository(name)
        return LocatedModel(repository.fetch_model(), repository)
    except CheckpointError as error:
        raise CheckpointError(f"{error} (There is no path {source} on this machine.)") from error


def checkpoint_of_run(path: Path) -> Path:
    """Return the best checkpoint of a run's folder, else its last one; any other path stays as it is.

    Raises:
        CheckpointError: The run has no checkpoint.
    """
    run = RunDirectory(path)
    if not run.checkpoints_dir.is_dir() or (path / CONFIG_FILE).exists():
        return path
    for link in ("best", "last"):
        if (run.checkpoints_dir / link).is_dir():
            chosen = (run.checkpoints_dir / link).resolve()
            logger.info("%s: a run; taking its %s checkpoint %s", path, link, chosen.name)
            return chosen
    latest = run.latest_checkpoint()
    if latest is None:
        raise CheckpointError(f"{path}: is the folder of a run that has no checkpoint yet.")
    logger.info("%s: a run; taking its checkpoint %s", path, latest.name)
    return latest


def load_model(source: ModelSource, layout: HuggingFaceLayout[Any]) -> LoadedModel[Any]:
    """Load configuration and weights of a model, wherever and in whatever form it is; nothing is unpickled.

    Args:
        source: See :func:`locate_model`.
        layout: Of the model family that is expected.

    Raises:
        CheckpointError: There is no such model, it is damaged, or it is of another kind.
    """
    return load_any_form(locate_model(source).path, layout)


def model_fingerprint(source: ModelSource) -> str:
    """Return a checksum of a model's weight files: equal for equal weights in equal files."""
    path = locate_model(source).path
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors")) or sorted(path.rglob("*"))
    sums = [
        (file.name, file_checksum(file)) for file in files if file.is_file() and file.suffix not in (".json", ".md")
    ]
    if len(sums) == 1:
        return sums[0][1]
    return f"{zlib.crc32(repr(sums).encode()):08x}"
