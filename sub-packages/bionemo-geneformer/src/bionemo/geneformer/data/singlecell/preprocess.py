# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible loader of a vocabulary and medians, from files that are there already."""

import os
from pathlib import Path
from typing import Any

from bionemo.core.errors import MissingFileError
from bionemo.geneformer.data.dictionaries import convert_dictionary, read_dictionary, read_gene_medians
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer


GENE_NAME_FILES = ("gene_name_id_dict.pkl", "gene_name_id_dict.json", "gene_name_to_ensembl.json.gz")
MEDIAN_FILES = ("gene_median_dictionary.pkl", "gene_median_dictionary.json", "gene_medians.json.gz")
"""Names under which the original files, or what they were converted to, are looked for in a folder."""


class GeneformerPreprocess:
    """Reads, or builds once and saves, the vocabulary and the medians of BioNeMo's Geneformer.

    Nothing is downloaded: `download_directory` is where the original dictionaries, or their JSON form, already lie.

    Args:
        download_directory: Folder of the gene names and, where `medians_file_path` does not exist, the medians.
        medians_file_path: Medians as JSON; written from the original file where it is missing.
        tokenizer_vocab_path: Vocabulary; written where it is missing.
    """

    def __init__(
        self,
        download_directory: str | os.PathLike[str],
        medians_file_path: str | os.PathLike[str],
        tokenizer_vocab_path: str | os.PathLike[str],
    ):
        self.download_directory = Path(download_directory)
        self.medians_file_path = Path(medians_file_path)
        self.tokenizer_vocab_path = Path(tokenizer_vocab_path)

    def preprocess(self) -> dict[str, Any]:
        """Return ``{"tokenizer": GeneTokenizer, "median_dict": {...}}``.

        Raises:
            MissingFileError: A file is neither there nor can be built.
            DataError: A file holds something else.
        """
        if not self.medians_file_path.is_file():
            convert_dictionary(self._find(MEDIAN_FILES), self.medians_file_path)
        medians = read_gene_medians(self.medians_file_path)
        if not self.tokenizer_vocab_path.is_file():
            self.build_and_save_tokenizer(medians, read_dictionary(self._find(GENE_NAME_FILES)))
        return {"tokenizer": GeneTokenizer.from_vocab_file(self.tokenizer_vocab_path), "median_dict": medians}

    def build_and_save_tokenizer(self, median_dict: dict[str, float], gene_to_ens: dict[str, str]) -> GeneTokenizer:
        """Build the vocabulary of the genes that have a median, and save it."""
        tokenizer = GeneTokenizer.from_medians_and_genes_dicts(median_dict, gene_to_ens)
        tokenizer.save_vocab(self.tokenizer_vocab_path)
        return tokenizer

    def _find(self, names: tuple[str, ...]) -> Path:
        for name in names:
            if (self.download_directory / name).is_file():
                return self.download_directory / name
        raise MissingFileError(f"{self.download_directory}: holds none of {', '.join(names)}. Put one of them there.")
