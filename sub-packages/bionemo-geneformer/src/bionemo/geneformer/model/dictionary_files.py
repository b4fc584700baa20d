# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The dictionaries that lie beside a model's weights: a checkpoint says itself what its tokens mean."""

from pathlib import Path
from typing import Protocol

from bionemo.core.errors import CheckpointError, ConfigError
from bionemo.core.files import write_bytes
from bionemo.geneformer.data.dictionaries import (
    Dictionaries,
    dictionary_bytes,
    read_gene_medians,
    read_text_dictionary,
    read_tokenizer,
)
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer


VOCABULARY_FILE = "geneformer.vocab"
MEDIANS_FILE = "medians.json"
GENE_MAPPING_FILE = "gene_mapping.json"


class VocabularyRecord(Protocol):
    """What a `GeneformerConfig` says about the vocabulary that its model was trained with."""

    @property
    def variant(self) -> str:
        """Family: V1, V2 or BIONEMO."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""

    @property
    def vocabulary_fingerprint(self) -> str | None:
        """`GeneTokenizer.fingerprint`, where it is known."""


def save_model_dictionaries(dictionaries: Dictionaries, directory: Path) -> None:
    """Write the vocabulary with its gene symbols, and medians and mapping where there are some."""
    dictionaries.tokenizer.save_vocab(directory / VOCABULARY_FILE)
    for name, content in ((MEDIANS_FILE, dictionaries.medians), (GENE_MAPPING_FILE, dictionaries.gene_mapping)):
        if content:
            write_bytes(directory / name, dictionary_bytes(content))


def load_model_dictionaries(directory: str | Path, config: VocabularyRecord) -> Dictionaries | None:
    """Read the dictionaries of a checkpoint.

    Args:
        directory: The checkpoint.
        config: What its config.json says.

    Returns:
        The dictionaries, with empty ones for files that are not there; None where there is no vocabulary.

    Raises:
        CheckpointError: The vocabulary is not the model's.
        DataError: A file holds something else.
    """
    folder = Path(directory)
    if not (folder / VOCABULARY_FILE).is_file():
        return None
    tokenizer = read_tokenizer(folder / VOCABULARY_FILE)
    check_vocabulary(tokenizer, config, str(folder / VOCABULARY_FILE))
    medians, mapping = folder / MEDIANS_FILE, folder / GENE_MAPPING_FILE
    return Dictionaries(
        tokenizer,
        read_gene_medians(medians) if medians.is_file() else {},
        read_text_dictionary(mapping) if mapping.is_file() else {},
    )


class DictionaryFlags(Protocol):
    """The flags of a command that name dictionaries."""

    @property
    def token_dictionary(self) -> Path | None:
        """Gene to token id."""

    @property
    def gene_medians(self) -> Path | None:
        """Gene to median."""

    @property
    def gene_names(self) -> Path | None:
        """Symbol to Ensembl id."""

    @property
    def gene_mapping(self) -> Path | None:
        """Identifier in the data to symbol or Ensembl id."""


def read_model_dictionaries(
    flags: DictionaryFlags, own: Dictionaries | None, config: VocabularyRecord | None, source: Path | None
) -> Dictionaries:
    """Read what the flags name; what they leave open is taken from a checkpoint.

    Args:
        flags: The command's.
        own: The checkpoint's dictionaries, or None where it has none.
        config: The checkpoint's model, or None without a checkpoint.
        source: The checkpoint, for messages.

    Raises:
        ConfigError: Neither has a vocabulary.
        CheckpointError: The vocabulary is not that of the checkpoint.
    """
    if flags.token_dictionary is not None:
        tokenizer = read_tokenizer(flags.token_dictionary, gene_names=flags.gene_names)
        if config is not None:
            check_vocabulary(tokenizer, config, f"--token-dictionary {flags.token_dictionary}")
    elif own is not None:
        tokenizer = own.tokenizer
        if flags.gene_names is not None:
            symbols = {**tokenizer.gene_to_ens, **read_text_dictionary(flags.gene_names)}
            tokenizer = GeneTokenizer(tokenizer.vocab, symbols)
    else:
        raise ConfigError(f"--token-dictionary: required, because {source} holds no vocabulary.")
    medians = own.medians if own is not None else {}
    mapping = own.gene_mapping if own is not None else {}
    return Dictionaries(
        tokenizer,
        medians if flags.gene_medians is None else read_gene_medians(flags.gene_medians),
        mapping if flags.gene_mapping is None else read_text_dictionary(flags.gene_mapping),
    )


def check_vocabulary(tokenizer: GeneTokenizer, config: VocabularyRecord, source: str) -> None:
    """Refuse a vocabulary of another version than the model's.

    Raises:
        CheckpointError: Its family, its size or its fingerprint differs.
    """
    pairs = [
        ("family", tokenizer.variant.name, config.variant),
        ("number of tokens", tokenizer.vocab_size, config.vocab_size),
    ]
    if config.vocabulary_fingerprint is not None:
        pairs.append(("fingerprint", tokenizer.fingerprint, config.vocabulary_fingerprint))
    for what, found, expected in pairs:
        if found != expected:
            raise CheckpointError(
                f"{source}: the vocabulary's {what} is {found}, the model was trained with {expected}. "
                "Use the dictionary of the model's version."
            )
