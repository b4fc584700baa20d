# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import pickle
from itertools import pairwise

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from bionemo.core.data.size_aware_batching import TokenBudgetBatchSampler
from bionemo.core.errors import ConfigError, DataError, FormatError, MissingFileError
from bionemo.geneformer.data.count_sources import ArchiveCounts, open_adata, open_counts
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.packed_cells import PackedCellDataset
from bionemo.geneformer.data.tokenize_on_read import TokenizedOnRead
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import BIONEMO, V1, V2
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.testing.cells import make_cells


CELLS = make_cells(120, 150, seed=3)
DENSE = CELLS.counts.toarray()
KNOWN = CELLS.gene_ids[:130]
MEDIANS = dict(zip(KNOWN, np.random.default_rng(1).lognormal(1, 1, 130).tolist(), strict=True))
TOKENIZER = GeneTokenizer.from_medians_and_genes_dicts(MEDIANS, {"SYMBOL7": KNOWN[7]}, variant=V2)
DICTIONARIES = Dictionaries(TOKENIZER, MEDIANS, {})


def split(tokens, lengths):
    bounds = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    return [tokens[a:b].tolist() for a, b in pairwise(bounds)]


def build(adata=None, dictionaries=DICTIONARIES, **options):
    return TokenizedOnRead(open_adata(CELLS.to_anndata() if adata is None else adata), dictionaries, **options)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    adata = CELLS.to_anndata()
    adata.write_h5ad(folder / "csr.h5ad")
    adata.X = adata.X.tocsc()
    adata.write_h5ad(folder / "csc.h5ad")
    adata.X = adata.X.toarray()
    adata.write_h5ad(folder / "dense.h5ad")
    SingleCellMemMapDataset.from_h5ad(folder / "csr.h5ad", folder / "archive", use_X_not_raw=True)
    return folder


def test_every_source_gives_the_published_tokens(files, check_cell):
    rows = np.random.default_rng(2).permutation(120)
    rows[:2] = rows[2]
    expected = split(*build().read(rows))
    for row, tokens in zip(rows, expected, strict=True):
        assert (tokens[0], tokens[-1]) == (2, 3)
        check_cell(tokens[1:-1], DENSE[row], CELLS.gene_ids, TOKENIZER.vocab, MEDIANS, max_genes=4094)
    for name in ("csr.h5ad", "csc.h5ad", "dense.h5ad", "archive"):
        cells = TokenizedOnRead(open_counts(files / name), DICTIONARIES)
        assert split(*cells.read(rows)) == expected, name
        np.testing.assert_array_equal(cells.lengths[rows], [len(tokens) for tokens in expected])
        assert split(*cells.read(np.arange(30, 60))) == split(*build().read(np.arange(30, 60)))
        assert list(cells.source.obs()["cell_type"]) == [f"type{t}" for t in CELLS.cell_types]


@pytest.mark.parametrize("form", ["csr", "csc", "dense", "csr_array"])
def test_matrices_in_memory(form):
    adata = CELLS.to_anndata()
    adata.X = {"csr": adata.X, "csc": adata.X.tocsc(), "dense": DENSE, "csr_array": sparse.csr_array(adata.X)}[form]
    rows = np.array([5, 3, 3])
    assert split(*build(adata).read(rows)) == split(*build().read(rows))


def test_raw_comes_before_x_and_layers_on_request():
    adata = CELLS.to_anndata()
    adata.layers["counts"] = adata.X.copy()
    adata.raw = adata.copy()
    adata.X = np.log1p(DENSE)
    expected = split(*build().read(np.arange(4)))
    source = open_adata(adata)
    assert source.name == "adata: raw.X"
    assert split(*TokenizedOnRead(source, DICTIONARIES).read(np.arange(4))) == expected
    layer = open_adata(adata, layer="counts", name="a.h5ad")
    assert layer.name == "a.h5ad: layers/counts"
    assert split(*TokenizedOnRead(layer, DICTIONARIES).read(np.arange(4))) == expected
    with pytest.raises(DataError, match=r"adata: X: cell 0 has the value .*: the data look log-normalized"):
        TokenizedOnRead(open_adata(adata, layer="X"), DICTIONARIES)
    with pytest.raises(
        DataError,
        match=r"adata: no matrix 'spliced', found \['raw\.X', 'X', 'layers/counts'\].* \(--counts-layer\)",
    ):
        open_adata(adata, layer="spliced")


def test_an_archive_of_several_gene_tables(tmp_path, check_cell):
    order = np.random.default_rng(4).permutation(150)
    first, second = CELLS.to_anndata()[:50], CELLS.to_anndata()[50:, order[:140]]
    for name, part in (("a", first), ("b", second)):
        part.copy().write_h5ad(tmp_path / f"{name}.h5ad")
    archive = SingleCellMemMapDataset.from_h5ad(tmp_path / "a.h5ad", tmp_path / "a", use_X_not_raw=True)
    archive.concat(SingleCellMemMapDataset.from_h5ad(tmp_path / "b.h5ad", tmp_path / "b", use_X_not_raw=True))
    cells = TokenizedOnRead(ArchiveCounts.open(tmp_path / "a"), DICTIONARIES)
    assert len(cells.tables) == 2
    rows = np.random.default_rng(5).permutation(120)
    for row, tokens in zip(rows, split(*cells.read(rows)), strict=True):
        counts = DENSE[row].copy()
        if row >= 50:
            counts[order[140:]] = 0
        check_cell(tokens[1:-1], counts, CELLS.gene_ids, TOKENIZER.vocab, MEDIANS, max_genes=4094)
    copy = pickle.loads(pickle.dumps(cells))  # noqa: S301 our own bytes
    assert split(*copy.read(rows)) == split(*cells.read(rows))


def test_symbols_mapped_genes_and_duplicates(check_cell):
    adata = CELLS.to_anndata()
    genes = list(CELLS.gene_ids)
    genes[7], genes[8], genes[9] = "SYMBOL7", "mouse8", f"{KNOWN[10]}.4"
    adata.var = pd.DataFrame(index=genes)
    cells = build(adata, Dictionaries(TOKENIZER, MEDIANS, {"mouse8": KNOWN[8]}))
    assert (cells.tables[0].num_summed, cells.tables[0].dropped) == (1, CELLS.gene_ids[130:])
    stands_for = [*KNOWN[:9], KNOWN[10], *CELLS.gene_ids[10:]]
    for row, tokens in enumerate(split(*cells.read(np.arange(120)))):
        check_cell(tokens[1:-1], DENSE[row], stands_for, TOKENIZER.vocab, MEDIANS, max_genes=4094)
    with pytest.raises(DataError, match=f"gene {KNOWN[10]} has two columns"):
        build(adata, sum_duplicates=False)


def test_packed_batches_straight_from_an_archive(files):
    cells = TokenizedOnRead(ArchiveCounts.open(files / "archive"), DICTIONARIES, max_length=64)
    dataset = PackedCellDataset(cells, TOKENIZER, max_seq_length=64, max_tokens=200)
    sampler = TokenBudgetBatchSampler(dataset.token_lengths, 200, num_samples=120, num_epochs=1)
    expected = split(*build(max_length=64).read(np.arange(120)))
    seen = []
    for pack in sampler:
        batch = dataset[pack]
        found = split(batch["input_ids"].numpy(), np.diff(batch["cu_seqlens"].numpy()))
        for row, tokens in zip(batch["sample_idx"].tolist(), found, strict=True):
            if row >= 0:
                seen.append(row)
                assert tokens == expected[row]
    assert sorted(seen) == list(range(120))


def test_coverage_counts_what_the_vocabulary_knows():
    cells = build()
    coverage = cells.coverage(cells.read_counts(np.arange(120)))
    assert coverage == (DENSE[:, :130].sum(), DENSE.sum())
    assert coverage.share == pytest.approx(DENSE[:, :130].sum() / DENSE.sum())
    few = Dictionaries(
        GeneTokenizer.from_medians_and_genes_dicts(dict.fromkeys(KNOWN[:3], 1.0), {}),
        dict.fromkeys(KNOWN[:3], 1.0),
        {},
    )
    with pytest.raises(
        DataError, match=r"the vocabulary knows \d\.\d% of the counts, less than 30% \(3 of 150 genes by"
    ):
        build(dictionaries=few)
    assert len(build(dictionaries=few, min_coverage=0.0)) == 120


@pytest.mark.parametrize("variant", [V1, V2, BIONEMO], ids=lambda variant: variant.name)
def test_cells_without_genes_are_named_or_left_out(variant):
    tokenizer = GeneTokenizer.from_medians_and_genes_dicts(MEDIANS, {}, variant=variant)
    adata = CELLS.to_anndata()
    dense = DENSE.copy()
    dense[[4, 9]] = 0
    dense[9, 149] = 3  # a gene that is not known
    adata.X = dense
    cells = build(adata, Dictionaries(tokenizer, MEDIANS, {}))
    with pytest.raises(
        DataError, match=r"adata: X: cell 4 has no counts of known genes \(2 such cells\).*--empty-cells skip"
    ):
        cells.cells_with_genes()
    assert cells.cells_with_genes("skip").tolist() == [i for i in range(120) if i not in (4, 9)]
    assert cells.cells_with_genes("skip", lengths=cells.lengths[3:6], rows=np.arange(3, 6)).tolist() == [0, 2]
    with pytest.raises(DataError, match="cell 9 has no counts"):
        cells.cells_with_genes(lengths=cells.lengths[8:11], rows=np.arange(8, 11))


def test_input_that_holds_no_counts(tmp_path, files):
    with pytest.raises(MissingFileError, match="no such file or archive"):
        open_counts(tmp_path / "none.h5ad")
    (tmp_path / "bad.h5ad").write_bytes(b"no")
    with pytest.raises(FormatError, match=r"bad\.h5ad: cannot be read as an h5ad file"):
        open_counts(tmp_path / "bad.h5ad")
    with pytest.raises(ConfigError, match=r"\(--counts-layer\) counts: .* is an archive"):
        open_counts(files / "archive", layer="counts")
    CELLS.to_anndata()[:0].copy().write_h5ad(tmp_path / "empty.h5ad")
    with pytest.raises(DataError, match=r"empty\.h5ad: holds no cells"):
        open_counts(tmp_path / "empty.h5ad")
    SingleCellMemMapDataset.from_h5ad(tmp_path / "empty.h5ad", tmp_path / "none", use_X_not_raw=True)
    with pytest.raises(DataError, match="none: holds no cells"):
        open_counts(tmp_path / "none")
    with pytest.raises(DataError, match="adata: X: holds no cells"):
        build(CELLS.to_anndata()[:0])
    with pytest.raises(DataError, match=r"adata: no counts found in raw\.X.*It has no matrix.*--counts-layer"):
        open_adata(anndata.AnnData(obs=pd.DataFrame(index=["a"])))
    archive = tmp_path / "archive"
    SingleCellMemMapDataset.from_h5ad(files / "csr.h5ad", archive, use_X_not_raw=True)
    columns = np.fromfile(archive / "col_ptr.npy", np.uint8)
    columns[5] = 150
    columns.tofile(archive / "col_ptr.npy")
    with pytest.raises(FormatError, match="a column number exceeds the gene table"):
        ArchiveCounts.open(archive).read(np.array([0]))
