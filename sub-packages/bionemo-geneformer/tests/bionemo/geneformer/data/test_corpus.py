# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pandas as pd
import pytest

from bionemo.core.errors import DataError
from bionemo.geneformer.data.corpus import AnyGenes, Corpus, EnsemblGenes, medians_of_genes
from bionemo.geneformer.data.count_sources import open_adata
from bionemo.testing.cells import make_cells


FIRST, SECOND = make_cells(60, 40, seed=3), make_cells(45, 40, seed=4)


def adata_of(cells, genes=None):
    adata = cells.to_anndata()
    adata.var = pd.DataFrame(index=cells.gene_ids if genes is None else genes)
    return adata


def build(*adatas, **options):
    options = {"known": EnsemblGenes(), "gene_names": {}, "gene_mapping": {}} | options
    return Corpus([open_adata(adata, name=f"data{i}") for i, adata in enumerate(adatas)], **options)


def medians_by_hand(*parts):
    values = {}
    for dense, genes in parts:
        for cell in dense.astype(np.float64):
            summed = {}
            for count, gene in zip(cell, genes, strict=True):
                if gene is not None:
                    summed[gene] = summed.get(gene, 0.0) + count
            for gene, count in summed.items():
                if count:
                    values.setdefault(gene, []).append(count / cell.sum() * 10_000.0)
    return {gene: float(np.median(found)) for gene, found in sorted(values.items())}


def test_medians_over_matrices_of_different_genes_with_duplicates_and_unknown_ones():
    first = [*FIRST.gene_ids[:38], "lnc1", f"{FIRST.gene_ids[3]}.7"]
    second = SECOND.gene_ids[5:] + [f"ENSG{i:011d}" for i in range(900, 905)]
    corpus = build(adata_of(FIRST, first), adata_of(SECOND, second))
    stands_for = [*FIRST.gene_ids[:38], None, FIRST.gene_ids[3]]
    expected = medians_by_hand((FIRST.counts.toarray(), stands_for), (SECOND.counts.toarray(), second))
    for memory in (1000, 1):
        assert medians_of_genes(corpus, corpus.find_medians(max_memory_mb=memory)) == pytest.approx(
            expected, rel=1e-15
        )
    assert corpus.num_cells == 105


def test_genes_of_a_vocabulary_alone_and_of_enough_cells():
    known = {gene: i for i, gene in enumerate(FIRST.gene_ids[:10])}
    corpus = build(adata_of(FIRST), known=known)
    found = corpus.find_medians(max_memory_mb=100)
    dense = FIRST.counts.toarray()
    num_cells = (dense[:, :10] > 0).sum(axis=0)
    assert found.num_cells.tolist() == num_cells.tolist()
    enough = int(np.median(num_cells))
    chosen = medians_of_genes(corpus, found, min_cells=enough)
    assert list(chosen) == [gene for gene, num in zip(FIRST.gene_ids, num_cells, strict=False) if num >= enough]
    with pytest.raises(DataError, match="No gene has a count in at least 1000 cells"):
        medians_of_genes(corpus, found, min_cells=1000)


def test_counts_are_checked_on_the_way():
    adata = adata_of(FIRST)
    adata.X = adata.X.toarray() + 0.25
    with pytest.raises(DataError, match=r"data0: no counts found.* X: no counts: 0\.25 to .*--counts-layer"):
        build(adata)
    source = open_adata(adata, layer="X", name="data0")
    corpus = Corpus([source], known=EnsemblGenes(), gene_names={}, gene_mapping={})
    with pytest.raises(DataError, match=r"data0: X: cell 0 has the value \d+\.25"):
        corpus.find_medians(max_memory_mb=100)


def test_identifiers_as_they_are():
    adata = adata_of(FIRST, [f"gene-{i}" for i in range(39)] + [""])
    assert build(adata, known=AnyGenes()).genes == sorted(f"gene-{i}" for i in range(39))
    with pytest.raises(DataError, match="no gene is known"):
        build(adata)


def test_every_ensembl_gene_is_known_without_a_vocabulary():
    genes = EnsemblGenes()
    for gene in ("ENSG00000141510", "ENSMUSG00000059552", "ENSGR0000223511"):
        assert gene in genes
    for other in ("TP53", "ENST00000269305", "ENSG00000141510.2", "", 7):
        assert other not in genes
