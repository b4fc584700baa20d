# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``geneformer_medians``: the medians of a corpus, and a vocabulary of its genes."""

import logging
import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.command import print_result, run_command
from bionemo.core.config import explicit_fields, option, parse
from bionemo.core.errors import ConfigError, DataFileError


PROG = "geneformer_medians"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class GeneformerMediansConfig:
    """Compute the exact median of every gene's non-zero normalised counts over a corpus of any size."""

    data_path: tuple[Path, ...] = option(help="Raw counts: .h5ad files and SCDL archives.")
    output_path: Path = option(help="Medians to write: .json, Ensembl id to median.")
    save_token_dictionary: Path | None = option(
        None, help="Also write a token dictionary of these genes, for a model trained from scratch on the corpus."
    )
    model: Literal["V1", "V2", "BIONEMO"] = option(
        "V2", help="With --save-token-dictionary: family of the model, for its special tokens."
    )
    token_dictionary: Path | None = option(None, help="Take only the genes of this dictionary; None takes all.")
    gene_mapping: Path | None = option(None, help="Identifier in the data to gene: other species, retired ids.")
    gene_names: Path | None = option(None, help="Gene symbol to Ensembl id, for data with symbols.")
    gene_column: str | None = option(None, help="Column of var that identifies genes; None finds the best known one.")
    layer: str | None = option(None, help="With .h5ad files: key of layers, or X; None is raw.X if there, else X.")
    any_gene_ids: bool = option(
        False, help="Take identifiers as they are, symbols for example, instead of Ensembl gene ids alone."
    )
    min_cells: int = option(1, help="Leave out genes with a count in fewer cells.")
    allow_fractional_counts: bool = option(False, help="Accept counts that are not whole.")
    max_memory_mb: int = option(1_000, help="Memory for values that are kept, in MB; less means more passes.")
    overwrite: bool = option(False, help="Replace files of an earlier call.")

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("min_cells", "max_memory_mb"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} {getattr(self, name)}: expected at least 1.")
        if self.any_gene_ids and self.token_dictionary is not None:
            raise ConfigError("--any-gene-ids and --token-dictionary exclude each other: the genes are its own.")
        if not self.data_path:
            raise ConfigError("--data-path: expected at least one file or archive.")


def _run(argv: Sequence[str]) -> None:
    config = parse(GeneformerMediansConfig, argv, prog=PROG)
    if config.save_token_dictionary is None and "model" in explicit_fields(config):
        raise ConfigError("--model belongs to --save-token-dictionary: medians are the same for all families.")
    for path in (config.output_path, config.save_token_dictionary):
        if path is not None and path.exists() and not config.overwrite:
            raise DataFileError(f"{path}: exists already. Choose another name or pass --overwrite.")
    from bionemo.core.files import write_bytes
    from bionemo.geneformer.data.corpus import AnyGenes, Corpus, EnsemblGenes, medians_of_genes
    from bionemo.geneformer.data.count_sources import open_counts
    from bionemo.geneformer.data.dictionaries import dictionary_bytes, read_text_dictionary, read_tokenizer
    from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
    from bionemo.geneformer.tokenizer.variants import find_variant

    tokenizer = None if config.token_dictionary is None else read_tokenizer(config.token_dictionary)
    names = {} if tokenizer is None else tokenizer.gene_to_ens
    if config.gene_names is not None:
        names = {**names, **read_text_dictionary(config.gene_names)}
    known: Container[str] = AnyGenes() if config.any_gene_ids else EnsemblGenes()
    if tokenizer is not None:
        known = tokenizer.vocab
    corpus = Corpus(
        [open_counts(path, layer=config.layer) for path in config.data_path],
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
    print_result(config.output_path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, argv, prog=PROG)


if __name__ == "__main__":
    sys.exit(main())
