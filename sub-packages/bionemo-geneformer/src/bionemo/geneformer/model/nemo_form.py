# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo's Geneformer in folders of NeMo 2, with the dictionaries that such a folder holds.

Vocabulary, gene symbols and medians are files beside the weights or arguments of the tokenizer in the context.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bionemo.core.errors import CheckpointError, FormatError
from bionemo.geneformer.data.dictionaries import (
    Dictionaries,
    check_gene_medians,
    read_gene_medians,
    read_text_dictionary,
    read_tokenizer,
)
from bionemo.geneformer.model.config import GeneformerConfig
from bionemo.geneformer.model.dictionary_files import (
    GENE_MAPPING_FILE,
    MEDIANS_FILE,
    VOCABULARY_FILE,
    check_vocabulary,
)
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.llm.checkpoints.json_files import ConfigValues
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors
from bionemo.llm.checkpoints.nemo2.context import NemoContext, read_context
from bionemo.llm.checkpoints.nemo2.folder import CONTEXT_FILE, NemoFolder, find_root, is_tar, open_folder
from bionemo.llm.checkpoints.nemo2.form import Nemo2Form


logger = logging.getLogger(__name__)

WORD_TABLE = "embedding.word_embeddings.weight"
LEARNED_POSITIONS = "embedding.position_embeddings.weight"
VOCABULARY, SYMBOLS, MEDIANS = "vocab", "gene_to_ens", "median_dict"
"""Arguments of the tokenizer and of the data module."""
PUBLISHED_VOCAB_SIZE = 25_429
"""Of both published models, for a folder that holds no vocabulary."""


class GeneformerNemoForm(Nemo2Form[GeneformerConfig]):
    """Geneformer in a NeMo 2 folder or archive."""

    dictionary_names = (VOCABULARY, SYMBOLS, MEDIANS)
    family, config_class = "geneformer", "GeneformerConfig"

    def not_held(self, state: Mapping[str, Tensor], config: GeneformerConfig) -> dict[str, str]:
        """Return nothing: such a folder holds all of a BioNeMo Geneformer.

        Raises:
            CheckpointError: It is a V1 or V2, which NeMo 2 does not have.
        """
        if config.norm_placement != "pre" or config.num_token_types:
            raise CheckpointError(
                f"a Geneformer {config.variant}: NeMo 2 has those of BioNeMo alone, without token types. Use --to hf."
            )
        return {}

    def config_from_context(self, context: NemoContext, tensors: LazyTensors, folder: NemoFolder) -> GeneformerConfig:
        """Translate the settings.

        Raises:
            CheckpointError: The model has no learned positions, a size is missing or impossible, or the size of the
                vocabulary is unknown.
        """
        if LEARNED_POSITIONS not in tensors or WORD_TABLE not in tensors:
            raise CheckpointError(
                f"{folder.root}: a {context.model_class} without learned positions, which is no Geneformer (perhaps "
                "an ESM-2)."
            )
        read = context.settings
        tokenizer = read_vocabulary(context, folder)
        padded_rows = tensors.shape(WORD_TABLE)[0]
        config = GeneformerConfig(
            vocab_size=PUBLISHED_VOCAB_SIZE if tokenizer is None else tokenizer.vocab_size,
            vocabulary_fingerprint=None if tokenizer is None else tokenizer.fingerprint,
            num_layers=read.size("num_layers"),
            hidden_size=read.size("hidden_size"),
            num_attention_heads=read.size("num_attention_heads"),
            ffn_hidden_size=read.size("ffn_hidden_size", 4 * read.size("hidden_size")),
            seq_length=read.size("seq_length", tensors.shape(LEARNED_POSITIONS)[0]),
            activation_func=activation(read),
            hidden_dropout=read.number("hidden_dropout", 0.02),
            attention_dropout=read.number("attention_dropout", 0.1),
            layernorm_epsilon=read.number("layernorm_epsilon", 1e-12),
            init_method_std=read.number("init_method_std", 0.02),
        )
        if tokenizer is None and padded_rows != config.padded_vocab_size(PUBLISHED_VOCAB_SIZE):
            raise CheckpointError(
                f"{folder.root}: holds no vocabulary, and its {padded_rows} rows are not those of the published "
                f"models. Put the vocabulary beside it as {VOCABULARY_FILE}."
            )
        return config

    def state_from_megatron(self, tensors: LazyTensors, config: GeneformerConfig) -> LazyTensors:
        """Check names and shapes."""
        from bionemo.geneformer.model.hf_layout import GeneformerLayout

        return GeneformerLayout().state_from_megatron(tensors, config)


def activation(read: ConfigValues) -> str:
    """Return the activation function by name; the published models have GELU in its exact form."""
    name = read.text("activation_func", "gelu")
    return "gelu" if name.endswith("gelu_func") else name


def read_vocabulary(context: NemoContext, folder: NemoFolder) -> GeneTokenizer | None:
    """Read the vocabulary of a folder: its file, else the arguments of the tokenizer; None where it has neither.

    Raises:
        DataError: It is no vocabulary of Geneformer.
    """
    path = find_file(folder, VOCABULARY_FILE)
    if path is not None:
        return read_tokenizer(path)
    vocab = context.dictionaries.get(VOCABULARY)
    if not vocab:
        return None
    symbols = context.dictionaries.get(SYMBOLS, {})
    if not all(type(token_id) is int for token_id in vocab.values()) or not _is_text(symbols):
        raise FormatError(f"{folder.context / CONTEXT_FILE}: the tokenizer's arguments are no vocabulary.")
    return GeneTokenizer(vocab, symbols)


def find_file(folder: NemoFolder, name: str) -> Path | None:
    """Find a dictionary in the folder, or in its context."""
    return next((path for path in (folder.root / name, folder.context / name) if path.is_file()), None)


def find_nemo_dictionaries(path: Path, config: GeneformerConfig) -> Dictionaries | None:
    """Read the dictionaries of a NeMo 2 folder or archive.

    Args:
        path: Any path.
        config: Of the model that was loaded from it.

    Returns:
        The dictionaries, empty ones where there is only a vocabulary; None without one, or for another path.

    Raises:
        CheckpointError: The vocabulary is not the model's.
        DataError: A file holds something else.
    """
    if not is_tar(path) and find_root(path) is None:
        return None
    folder = open_folder(path)
    context = read_context(folder, GeneformerNemoForm.dictionary_names)
    tokenizer = read_vocabulary(context, folder)
    if tokenizer is None:
        return None
    check_vocabulary(tokenizer, config, str(path))
    medians: dict[str, Any] = context.dictionaries.get(MEDIANS, {})
    medians_path, mapping_path = find_file(folder, MEDIANS_FILE), find_file(folder, GENE_MAPPING_FILE)
    source = str(folder.context / CONTEXT_FILE)
    return Dictionaries(
        tokenizer,
        check_gene_medians(medians, source) if medians_path is None else read_gene_medians(medians_path),
        {} if mapping_path is None else read_text_dictionary(mapping_path),
    )


def _is_text(values: dict[str, Any]) -> bool:
    return all(isinstance(value, str) for value in values.values())
