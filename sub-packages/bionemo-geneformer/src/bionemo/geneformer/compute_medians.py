# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Compute the medians of a corpus, and a vocabulary of its genes."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from bionemo.core.files import write_bytes
from bionemo.geneformer.data.corpus import AnyGenes, Corpus, EnsemblGenes, medians_of_genes
from bionemo.geneformer.data.count_sources import open_counts
from bionemo.geneformer.data.dictionaries import dictionary_bytes, read_text_dictionary, read_tokenizer
from bionemo.geneformer.medians_config import GeneformerMediansConfig, check_flags
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import find_variant


if TYPE_CHECKING:
    from collections.abc import Container

logger = logging.getLogger(__name__)


def compute_medians(config: GeneformerMediansConfig) -> Path:
    """Write the median of every gene's non-zero normalized counts, and a token dictionary where one is asked for.

    Returns:
        The file of medians.

    Raises:
        BionemoError: Bad input; the message names the file.
    """
    check_flags(config)
    tokenizer = None if config.token_dictionary is None else read_tokenizer(config.token_dictionary)
    names = {} if tokenizer is None else tokenizer.gene_to_ens
    if config.gene_names is not None:
        names = {**names, **read_text_dictionary(config.gene_names)}
    known: Container[str] = AnyGenes() if config.any_gene_ids else EnsemblGenes()
    if tokenizer is not None:
        known = tokenizer.vocab
    corpus = Corpus(
        [
            open_counts(
                path,
                layer=config.counts_layer,
                feature_type=config.feature_type,
                allow_fractions=config.allow_fractional_counts,
            )
            for path in config.data_path
        ],
        known=known,
        gene_names=names,
        gene_mapping={} if config.gene_mapping is None else read_text_dictionary(config.gene_mapping),
        gene_column=config.gene_column,
        allow_fractions=config.allow_fractional_counts,
    )
    found = corpus.find_medians(max_memory_mb=config.max_memory_mb)
    medians = medians_of_genes(corpus, found, min_cells=config.min_cells)
    logger.info("medians of %d genes over %d cells, in %d passes", len(medians), corpus.num_cells, found.num_passes)
    if config.save_token_dictionary is not None:
        variant = find_variant(config.model)
        vocabulary = GeneTokenizer.from_medians_and_genes_dicts(medians, {}, variant=variant).vocab
        write_bytes(config.save_token_dictionary, dictionary_bytes(vocabulary))
    write_bytes(config.output_path, dictionary_bytes(medians))
    return config.output_path
