# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Real cells with the released dictionaries: 700 peripheral blood cells that come with scanpy."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bionemo.core.errors import DataError
from bionemo.geneformer.data.count_sources import open_adata
from bionemo.geneformer.data.dictionaries import load_dictionaries
from bionemo.geneformer.data.tokenize_on_read import TokenizedOnRead


SHARED = Path(__file__).parents[6] / "../shared/data"

pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="the released dictionaries are not beside the project")


@pytest.fixture(scope="module")
def pbmc():
    scanpy = pytest.importorskip("scanpy")
    shipped = scanpy.datasets.pbmc68k_reduced()
    linear = np.expm1(shipped.raw.X.toarray())
    counts = np.rint(linear / np.where(linear > 0, linear, np.inf).min(axis=1, keepdims=True))
    return scanpy.AnnData(
        counts.astype(np.float32), obs=shipped.obs[["bulk_labels"]], var=shipped.raw.var[[]]
    ), shipped


@pytest.fixture(scope="module")
def dictionaries():
    return load_dictionaries(
        SHARED / "geneformer_v1_token_dictionary.json.gz",
        SHARED / "geneformer_v1_gene_medians.json.gz",
        gene_names=SHARED / "geneformer_v1_gene_name_to_ensembl.json.gz",
    )


def test_tokens_are_those_of_the_published_algorithm(pbmc, dictionaries, check_cell):
    adata, _ = pbmc
    cells = TokenizedOnRead(open_adata(adata), dictionaries)
    tokens, lengths = cells.read(np.arange(700))
    names = dictionaries.tokenizer.gene_to_ens
    genes = [names.get(symbol, symbol) for symbol in adata.var_names]
    same = 0
    for row, (start, end) in enumerate(pairwise(np.concatenate([[0], np.cumsum(lengths)]).tolist())):
        same += check_cell(
            tokens[start:end].tolist(),
            adata.X[row],
            genes,
            dictionaries.tokenizer.vocab,
            dictionaries.medians,
            max_genes=2048,
        )
    assert same == len(tokens) == int(lengths.sum())  # on these cells not even near ties differ
    assert cells.tables[0].num_known > 600


def test_the_shipped_normalized_values_are_refused(pbmc, dictionaries):
    _, shipped = pbmc
    with pytest.raises(
        DataError, match=r"raw\.X: no counts: .*, log-normalized by their range; X: no counts: .* negat"
    ):
        open_adata(shipped)
    with pytest.raises(DataError, match="the data look log-normalized, and ranking needs raw counts"):
        TokenizedOnRead(open_adata(shipped, layer="raw.X"), dictionaries)
    with pytest.raises(DataError, match="Raw counts are not negative: was it scaled"):
        TokenizedOnRead(open_adata(shipped, layer="X"), dictionaries)


def test_symbols_without_a_symbol_dictionary_are_refused_with_the_way_out(pbmc, dictionaries):
    adata, _ = pbmc
    dictionaries.tokenizer.gene_to_ens, names = {}, dictionaries.tokenizer.gene_to_ens
    try:
        with pytest.raises(DataError, match=r"no gene is known: 'index' holds .* for symbols give --gene-names"):
            TokenizedOnRead(open_adata(adata), dictionaries)
    finally:
        dictionaries.tokenizer.gene_to_ens = names
