# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Tokenize counts: rank the genes of every cell, to an Arrow dataset."""

from pathlib import Path

from bionemo.core.config import to_mapping
from bionemo.geneformer.data.count_sources import open_counts
from bionemo.geneformer.data.dictionaries import load_dictionaries
from bionemo.geneformer.data.tokenize_on_read import TokenizedOnRead
from bionemo.geneformer.data.write_tokenized import TokenizeOptions, write_tokenized
from bionemo.geneformer.tokenize_config import TokenizeGeneformerConfig
from bionemo.geneformer.tokenizer.variants import find_variant
from bionemo.scdl.counts.formats import size_and_time


WITHOUT_EFFECT = ("output_path",)
"""Settings that leave the tokens the same."""


def tokenize_counts(config: TokenizeGeneformerConfig) -> Path:
    """Write the tokens of every cell of a file or an archive.

    Returns:
        The folder written.

    Raises:
        BionemoError: Bad input; the message names the file.
    """
    cells = TokenizedOnRead(
        open_counts(
            config.data_path,
            layer=config.counts_layer,
            feature_type=config.feature_type,
            allow_fractions=config.allow_fractional_counts,
        ),
        load_dictionaries(
            config.token_dictionary,
            config.gene_medians,
            gene_names=config.gene_names,
            gene_mapping=config.gene_mapping,
            variant=find_variant(config.model),
        ),
        max_length=config.seq_length,
        gene_column=config.gene_column,
        sum_duplicates=config.sum_duplicates,
        allow_fractions=config.allow_fractional_counts,
        min_coverage=config.min_coverage,
    )
    options = TokenizeOptions(
        obs_columns=config.obs_columns,
        empty_cells=config.empty_cells,
        filter_pass=config.filter_pass,
        cells_per_shard=config.cells_per_shard,
    )
    settings = {name: value for name, value in to_mapping(config).items() if name not in WITHOUT_EFFECT}
    write_tokenized(cells, config.output_path, options, plan=settings | {"files": file_stamps(config)})
    return config.output_path


def file_stamps(config: TokenizeGeneformerConfig) -> dict[str, list[int]]:
    """Size in bytes and time in ns of the input files and folders: a run is resumed only with the same."""
    files = [config.data_path, config.token_dictionary, config.gene_medians, config.gene_mapping, config.gene_names]
    return {str(path): list(size_and_time(path)) for path in files if path is not None}
