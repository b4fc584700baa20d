# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Genes that a user names, by id or symbol, and what is said of those that are unknown."""

import pytest

from bionemo.core.errors import DataError
from bionemo.geneformer.perturbation.gene_naming import GeneNaming
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer


GENES = {"ENSG00000090382": 1.0, "ENSG00000156738": 2.0}
SYMBOLS = {"LYZ": "ENSG00000090382", "MS4A1": "ENSG00000156738"}


def naming(symbols: dict[str, str]) -> GeneNaming:
    return GeneNaming(GeneTokenizer.from_medians_and_genes_dicts(GENES, symbols))


def test_ids_and_symbols_name_the_same_genes() -> None:
    by_symbol = naming(SYMBOLS).tokens(["MS4A1", "LYZ"])
    assert by_symbol == naming(SYMBOLS).tokens(["ensg00000156738.3", "ENSG00000090382"])
    assert naming(SYMBOLS).label(by_symbol).gene_name == "MS4A1+LYZ"


def test_an_unknown_symbol_comes_with_the_way_on() -> None:
    with pytest.raises(DataError, match=r"gene LYZ: .* knows no gene symbols: .* gene_names \(--gene-names\)"):
        naming({}).tokens(["LYZ"])
    with pytest.raises(DataError, match=r"gene LYZZ: is not in the model's vocabulary\. Did you mean LYZ\?"):
        naming(SYMBOLS).tokens(["LYZZ"])
