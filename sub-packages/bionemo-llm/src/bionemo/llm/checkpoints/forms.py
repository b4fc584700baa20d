# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Forms of checkpoints: the Hugging Face layout, shards of a megatron run, and what a model family adds to them."""

import logging
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.consolidate import read_whole_tensors
from bionemo.llm.checkpoints.hf_directory import CONFIG_FILE, HuggingFaceLayout, LoadedModel, load_checkpoint
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.checkpoints.shards import SHARDS_DIR
from bionemo.llm.checkpoints.weight_files import WEIGHTS_FILES


logger = logging.getLogger(__name__)

ConfigT = TypeVar("ConfigT")


class CheckpointForm(Protocol[ConfigT]):
    """A form of published checkpoints that one model family reads beside the Hugging Face layout.

    A layout lists its forms in an attribute ``other_forms``.
    """

    description: str
    """For messages, for example "a fair-esm file"."""

    def recognizes(self, path: Path) -> bool:
        """Return whether a file or folder has this form, by names alone."""

    def load(self, path: Path) -> LoadedModel[ConfigT]:
        """Load configuration and weights; raises CheckpointError for damage or another kind of model."""


def load_any_form(path: Path, layout: HuggingFaceLayout[Any]) -> LoadedModel[Any]:
    """Load a checkpoint on disk, whatever its form.

    Args:
        path: Folder or file.
        layout: Of the model family that is expected.

    Returns:
        Configuration and weights.

    Raises:
        CheckpointError: It has no known form, is damaged, or holds another kind of model; the message names it.
    """
    try:
        if (path / SHARDS_DIR).is_dir():
            return _load_shards(path, layout)
        for form in forms_of(layout):
            if form.recognizes(path):
                logger.info("%s: %s", path, form.description)
                return form.load(path)
        if path.is_file() and path.name in WEIGHTS_FILES:
            path = path.parent
        if path.is_file():
            known = ", ".join(("a folder in Hugging Face layout", *(form.description for form in forms_of(layout))))
            raise CheckpointError(f"{path}: is no checkpoint of this model. Expected {known}.")
        return load_checkpoint(path, layout)
    except CheckpointError as error:
        raise error if str(path) in str(error) else CheckpointError(f"{path}: {error}") from error


def forms_of(layout: HuggingFaceLayout[Any]) -> tuple[CheckpointForm[Any], ...]:
    """Return the forms that a family reads beside the Hugging Face layout."""
    return getattr(layout, "other_forms", ())


def _load_shards(path: Path, layout: HuggingFaceLayout[Any]) -> LoadedModel[Any]:
    config = layout.config_from_hf(read_json(path / CONFIG_FILE), str(path))
    logger.info("%s: shards of the megatron engine", path)
    return LoadedModel(config, layout.tensors_from_hf(read_whole_tensors(path, layout, config), config))
