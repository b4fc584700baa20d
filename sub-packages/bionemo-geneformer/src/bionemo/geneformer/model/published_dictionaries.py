# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Dictionaries of the published Geneformers: pickles in the repository of all models, ``ctheodoris/Geneformer``.

They lie below ``geneformer/`` beside the models' folders, one set for each corpus. Which set a model was trained with
follows from its family, and for the models of 95 million cells from their names; the vocabulary's size must agree.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bionemo.core.errors import CheckpointError
from bionemo.geneformer.data.dictionaries import Dictionaries, load_dictionaries
from bionemo.geneformer.model.config import GeneformerConfig
from bionemo.geneformer.model.dictionary_files import (
    GENE_MAPPING_FILE,
    MEDIANS_FILE,
    VOCABULARY_FILE,
    check_vocabulary,
    load_model_dictionaries,
)
from bionemo.geneformer.model.nemo_form import find_nemo_dictionaries
from bionemo.geneformer.tokenizer.variants import VARIANTS
from bionemo.llm.checkpoints.model_source import LocatedModel


FOLDER = "geneformer"


class DictionarySet(NamedTuple):
    """Files of one corpus in the repository."""

    tokens: str
    medians: str
    names: str
    mapping: str


def dictionary_set(corpus: str, folder: str = FOLDER) -> DictionarySet:
    """Name the files of a corpus.

    Example:
        >>> dictionary_set("gc104M").tokens
        'geneformer/token_dictionary_gc104M.pkl'
    """
    stems = ("token_dictionary", "gene_median_dictionary", "gene_name_id_dict", "ensembl_mapping_dict")
    return DictionarySet(*(f"{folder}/{stem}_{corpus}.pkl" for stem in stems))


SETS = {
    "V1": dictionary_set("gc30M", f"{FOLDER}/gene_dictionaries_30m"),
    "V2": dictionary_set("gc104M"),
    "95M": dictionary_set("gc95M", f"{FOLDER}/gene_dictionaries_95m"),
}


def find_dictionaries(located: LocatedModel, config: GeneformerConfig) -> Dictionaries | None:
    """Read the dictionaries that belong to a model: those in its folder, else those of its repository.

    Args:
        located: Where the model lies, and the Hub repository that it came from.
        config: The model's configuration.

    Returns:
        The dictionaries; None where there are none.

    Raises:
        CheckpointError: They are of another vocabulary than the model, or cannot be downloaded.
        DataError: A file holds something else.
    """
    folder = located.path if located.path.is_dir() else located.path.parent
    fetch_own(located)
    own = find_nemo_dictionaries(located.path, config) or load_model_dictionaries(folder, config)
    if own is not None or config.variant not in SETS:
        return own
    files = SETS["95M" if config.variant == "V2" and "95M" in located.path.name else config.variant]
    get = from_hub(located) or from_clone(folder, files)
    if get is None:
        return None
    tokens, medians, names, mapping = (get(file) for file in files)
    if tokens is None or medians is None:
        return None
    dictionaries = load_dictionaries(
        tokens, medians, gene_names=names, gene_mapping=mapping, variant=VARIANTS[config.variant]
    )
    check_vocabulary(dictionaries.tokenizer, config, str(tokens))
    return dictionaries


def fetch_own(located: LocatedModel) -> None:
    """Download the dictionaries that a model of ours has beside its weights on the Hub, where it has some."""
    repository = located.repository
    if repository is None:
        return
    folder = f"{repository.name.subfolder}/" if repository.name.subfolder else ""
    for name in (VOCABULARY_FILE, MEDIANS_FILE, GENE_MAPPING_FILE):
        if repository.has(folder + name):
            repository.fetch(folder + name)


def from_hub(located: LocatedModel) -> Callable[[str], Path | None] | None:
    """Return what downloads a file of the model's repository; None for a model that is not from the Hub."""
    repository = located.repository
    if repository is None:
        return None
    return lambda file: repository.fetch(file) if repository.has(file) else None


def from_clone(folder: Path, files: DictionarySet) -> Callable[[str], Path | None] | None:
    """Return what finds a file of a clone of the repository, around or in a model's folder; None outside of one."""
    root = next((root for root in (folder, folder.resolve().parent) if (root / files.tokens).is_file()), None)
    if root is None:
        return None

    def find(file: str) -> Path | None:
        if not (root / file).resolve().is_file():
            raise CheckpointError(f"{root}: has {files.tokens} but lacks {file}. Copy the whole folder {FOLDER}/.")
        return root / file

    return find
