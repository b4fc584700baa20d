# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Multimodal data: antibodies named like genes change no rank, no median and no coverage."""

import logging
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from bionemo.core.errors import DataError
from bionemo.geneformer.data.corpus import Corpus, EnsemblGenes
from bionemo.geneformer.data.count_sources import open_adata, open_counts
from bionemo.geneformer.data.counts import CountSource
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.tokenize_on_read import TokenizedOnRead
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import VARIANTS
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.testing.cells import make_cells


RNA = make_cells(6, num_genes=20, counts_per_cell=40)
SYMBOLS = {f"SYM{number}": gene for number, gene in enumerate(RNA.gene_ids)}
MEDIANS = dict.fromkeys(RNA.gene_ids, 1.0)
DICTIONARIES = Dictionaries(
    GeneTokenizer.from_medians_and_genes_dicts(MEDIANS, SYMBOLS, variant=VARIANTS["V2"]), MEDIANS, {}
)
ANTIBODIES = np.array([3, 11])  # genes that an antibody is named like


def cite_seq(*, types: str | None = "feature_types", ids: bool = False, categorical: bool = False) -> anndata.AnnData:
    """RNA counts with two antibodies of 5,000 counts in every cell, in the middle of the columns."""
    counts = np.insert(RNA.counts.toarray(), 10, np.full((2, 1), 5_000), axis=1)
    kinds = np.insert(np.full(20, "Gene Expression", dtype=object), 10, ["Antibody Capture"] * 2)
    names = np.insert(np.array(list(SYMBOLS), dtype=object), 10, [f"SYM{number}" for number in ANTIBODIES])
    var = pd.DataFrame(index=names)
    if ids:
        var["gene_ids"] = [SYMBOLS[name] for name in names]
    if types is not None:
        var[types] = pd.Categorical(kinds) if categorical else kinds
    obs = pd.DataFrame(index=[f"cell{number}" for number in range(6)])
    return anndata.AnnData(X=counts.astype(np.float32), var=var, obs=obs)


def tokens_of(source: CountSource) -> list[list[int]]:
    cells = TokenizedOnRead(source, DICTIONARIES)
    tokens, lengths = cells.read(np.arange(6))
    return [part.tolist() for part in np.split(tokens, np.cumsum(lengths)[:-1])]


@pytest.fixture(scope="module")
def expected() -> list[list[int]]:
    adata = RNA.to_anndata()
    adata.var_names = list(SYMBOLS)
    adata.var = adata.var[[]]
    return tokens_of(open_adata(adata))


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize("options", [{}, {"ids": True}, {"types": "feature_type", "categorical": True}])
def test_ranks_are_those_of_the_rna_alone(
    options: dict[str, Any], expected: list[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    assert tokens_of(open_adata(cite_seq(**options), name="pbmc")) == expected
    assert "20 of 22 features are taken (Gene Expression); left out: 2 Antibody Capture" in caplog.text


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_files_archives_and_medians_follow_the_same_rule(expected: list[list[int]], tmp_path: Path) -> None:
    adata = cite_seq(ids=True)
    adata.var_names_make_unique()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    SingleCellMemMapDataset.from_h5ad(tmp_path / "cells.h5ad", tmp_path / "archive", use_X_not_raw=True)
    for name in ("cells.h5ad", "archive"):
        source = open_counts(tmp_path / name)
        assert tokens_of(source) == expected
        # The totals that counts are divided by are those of the RNA.
        corpus = Corpus([source], known=EnsemblGenes(), gene_names={}, gene_mapping={}, gene_column="gene_ids")
        totals = RNA.counts.toarray().sum(axis=1)
        normalized = RNA.counts.toarray() / totals[:, None] * 10_000
        medians = corpus.find_medians(max_memory_mb=10).medians
        for gene, median in zip(corpus.genes, medians, strict=True):
            values = normalized[:, RNA.gene_ids.index(gene)]
            if (values > 0).any():
                assert median == pytest.approx(np.median(values[values > 0]))


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_another_type_on_request_and_what_cannot_be_chosen() -> None:
    tokens = tokens_of(open_adata(cite_seq(), feature_type="Antibody Capture"))
    vocab = DICTIONARIES.tokenizer.vocab
    assert tokens == [[2, *sorted(vocab[RNA.gene_ids[number]] for number in ANTIBODIES), 3]] * 6
    with pytest.raises(
        DataError, match=r"no feature is of type 'Peaks'; found 20 Gene Expression, 2 Antib.* \(--feature-type\)"
    ):
        open_adata(cite_seq(), feature_type="Peaks")
    with pytest.raises(DataError, match=r"no column feature_types in var, so 'Peaks' \(--feature-type\)"):
        open_adata(cite_seq(types=None), feature_type="Peaks")
    only = cite_seq()[:, 10:12]
    with pytest.raises(DataError, match=r"of type 'Gene Expression'; found 2 Antibody Capture"):
        open_adata(only)


def test_biotypes_are_no_feature_types(expected: list[list[int]]) -> None:
    adata = RNA.to_anndata()
    adata.var = pd.DataFrame({"feature_type": ["protein_coding", "lncRNA"] * 10}, index=list(SYMBOLS))
    source = open_adata(adata)
    assert tokens_of(source) == expected
    assert len(source.gene_tables[0]["index"]) == 20


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_names_of_genes_among_ensembl_ids_are_named(caplog: pytest.LogCaptureFixture) -> None:
    adata = cite_seq(types=None)
    adata.var["gene_ids"] = [
        name if place in (10, 11) else SYMBOLS[name] for place, name in enumerate(adata.var_names)
    ]
    caplog.set_level(logging.WARNING)
    TokenizedOnRead(open_adata(adata, name="pbmc"), DICTIONARIES, gene_column="gene_ids")
    assert "'gene_ids' holds Ensembl ids, but 2 features are named like genes (SYM3, SYM11)" in caplog.text


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_gene_ids_are_unknown_genes(missing: Any, expected: list[list[int]]) -> None:
    adata = RNA.to_anndata()
    genes = list(RNA.gene_ids)
    absent = int(np.argmin(RNA.counts.toarray().sum(axis=0)))
    genes[absent] = missing
    adata.var = pd.DataFrame({"ensembl_id": genes}, index=[f"g{number}" for number in range(20)])
    source = open_adata(adata)
    assert source.gene_tables[0]["ensembl_id"][absent] == ""
    token = DICTIONARIES.tokenizer.vocab[RNA.gene_ids[absent]]
    assert tokens_of(source) == [[other for other in cell if other != token] for cell in expected]
