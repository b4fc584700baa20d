# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""NeMo 2 folders as a form of checkpoints; a model family adds what its settings and tensors mean."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Generic, TypeVar

from torch import Tensor

from bionemo.core.errors import BionemoError, CheckpointError
from bionemo.llm.checkpoints.hf_directory import LoadedModel
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors
from bionemo.llm.checkpoints.nemo2.context import NemoContext, read_context
from bionemo.llm.checkpoints.nemo2.folder import NemoFolder, find_root, is_tar, open_folder
from bionemo.llm.checkpoints.nemo2.names import model_tensors
from bionemo.llm.checkpoints.nemo2.stored_tensors import open_tensors
from bionemo.llm.checkpoints.nemo2.writer import Pyref


logger = logging.getLogger(__name__)

SETTINGS = (
    *("num_layers", "hidden_size", "num_attention_heads", "ffn_hidden_size", "seq_length", "layernorm_epsilon"),
    *("hidden_dropout", "attention_dropout", "init_method_std"),
)
ConfigT = TypeVar("ConfigT")


class Nemo2Form(ABC, Generic[ConfigT]):
    """A NeMo 2 checkpoint of one family; see ``bionemo.llm.checkpoints.forms.CheckpointForm``."""

    description = "a NeMo 2 folder or its .tar.gz (BioNeMo Framework 2)"
    dictionary_names: tuple[str, ...] = ()
    """Arguments in the context whose mappings belong to the model."""
    family: str
    """Package of BioNeMo Framework 2, for writing: ``esm2`` stands for ``bionemo.esm2.api``."""
    config_class: str
    """Name of the configuration's class in it."""
    settings: tuple[str, ...] = SETTINGS
    """Fields of our configuration that the context of a written folder says, under the same names."""

    def not_held(self, state: Mapping[str, Tensor], config: ConfigT) -> dict[str, str]:
        """Return the tensors of our state dict that such a folder does not hold, and in words what is lost with them.

        The words are empty where nothing is lost, because reading computes the same values.

        Raises:
            CheckpointError: There is no such model in NeMo 2.
        """
        return {}

    @property
    def model_class(self) -> Pyref:
        """Class of the model's configuration in BioNeMo Framework 2."""
        return Pyref(f"bionemo.{self.family}.api", self.config_class)

    @abstractmethod
    def config_from_context(self, context: NemoContext, tensors: LazyTensors, folder: NemoFolder) -> ConfigT:
        """Translate the settings; raises CheckpointError for another kind of model."""

    @abstractmethod
    def state_from_megatron(self, tensors: LazyTensors, config: ConfigT) -> LazyTensors:
        """Check names and shapes, and return our state dict; raises CheckpointError where they do not fit."""

    def recognizes(self, path: Path) -> bool:
        """Check whether a folder has the parts of a NeMo 2 checkpoint, or a file the ending of a tar archive."""
        return is_tar(path) or find_root(path) is not None

    def load(self, path: Path) -> LoadedModel[ConfigT]:
        """Load configuration and weights, which are read when they are asked for.

        Raises:
            CheckpointError: The checkpoint is damaged or holds another model.
        """
        folder = open_folder(path)
        try:
            context = read_context(folder, self.dictionary_names)
            tensors = model_tensors(open_tensors(folder), context.settings.size("num_layers"))
            config = self.config_from_context(context, tensors, folder)
            state = self.state_from_megatron(tensors, config)
        except CheckpointError:
            raise
        except BionemoError as error:
            raise CheckpointError(f"{path}: {error}") from error
        logger.info("%s: weights of %s", path, context.model_class)
        return LoadedModel(config, state)
