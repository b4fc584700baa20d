# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Speed of Geneformer's data path on one core: counts to tokens, and an archive to packed, masked batches.

    python benchmarks/geneformer_tokenize.py

The archive is generated: 6,000 cells with about 1,400 genes of a vocabulary of 25,424 each, and some values of genes
that the vocabulary does not know. Cells per CPU second of the whole process, median of five runs. The peer, in the
same process, is the usual way: one cell at a time, a dictionary look-up for each gene, values in float64, one argsort,
a mask from a torch generator and padding to the context. Packs of 32,768 tokens are the default on a GPU and what is
required; smaller ones hold few cells and cost more for each.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bionemo.core.data.size_aware_batching import TokenBudgetBatchSampler
from bionemo.geneformer.data.count_sources import ArchiveCounts
from bionemo.geneformer.data.counts import Counts, CountSource
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.packed_cells import PackedCellDataset, build_masking
from bionemo.geneformer.data.tokenize_on_read import TokenizedOnRead
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import V1
from bionemo.llm.data.collate import bert_padding_collate_fn
from bionemo.llm.data.masking import BertMaskConfig, apply_bert_pretraining_mask
from bionemo.llm.data.types import BertSample
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


NUM_CELLS, NUM_KNOWN, NUM_UNKNOWN, GENES_PER_CELL = 6000, 25_424, 8_576, 1400
CELLS_PER_READ = 512
TOKENIZE_REQUIRED, PACK_REQUIRED = 40_000, 25_000
SEED, NUM_RUNS = 42, 5


def main() -> int:
    """Print cells per CPU second of each way; 1 where one is below its requirement."""
    torch.set_num_threads(1)
    dictionaries = make_dictionaries()
    with tempfile.TemporaryDirectory() as folder:
        source = make_archive(Path(folder))
        cells = TokenizedOnRead(source, dictionaries)
        mean_length = float(cells.lengths.mean())
        print(f"{NUM_CELLS} cells, {mean_length:.0f} tokens each; {np.__version__=}, {torch.__version__=}")
        blocks = [cells.read_counts(rows) for rows in row_blocks()]
        peer = cells_per_s(lambda: one_at_a_time(source, dictionaries, num_cells=300), 300)
        print(f"one cell at a time, padded:        {peer:8,.0f} cells per CPU second")
        tokenize = report("counts in memory to tokens", lambda: encode_blocks(cells, blocks), peer)
        unchecked = TokenizedOnRead(source, dictionaries)  # it has not seen all counts yet
        report("archive to tokens, checked", lambda: encode_all(unchecked), peer)
        report("archive to lengths alone", lambda: count_all(cells), peer)
        report("archive to packed batch, 8,192", lambda: pack_all(cells, dictionaries, 8192), peer)
        packed = report("archive to packed batch, 32,768", lambda: pack_all(cells, dictionaries, 32_768), peer)
    print(f"required: {TOKENIZE_REQUIRED:,} to tokens, {PACK_REQUIRED:,} to packed batches")
    return 0 if tokenize >= TOKENIZE_REQUIRED and packed >= PACK_REQUIRED else 1


def make_dictionaries() -> Dictionaries:
    """A vocabulary and medians of V1's form and size."""
    medians = np.random.default_rng(SEED).lognormal(1.0, 0.7, NUM_KNOWN).clip(0.1, 600)
    named = {f"ENSG{i:011d}": float(median) for i, median in enumerate(medians)}
    return Dictionaries(GeneTokenizer.from_medians_and_genes_dicts(named, {}, variant=V1), named, {})


def make_archive(folder: Path) -> ArchiveCounts:
    """Write cells whose genes are drawn by a long-tailed popularity, as those of real cells are."""
    import anndata
    import pandas as pd
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(SEED)
    num_genes = NUM_KNOWN + NUM_UNKNOWN
    known = rng.permutation(num_genes) < NUM_KNOWN
    scores = rng.normal(0, 2.0, num_genes) - np.where(known, 0.0, 2.0)  # logarithm of the popularity
    lengths = rng.normal(GENES_PER_CELL * 1.065, 250, NUM_CELLS).clip(300, 2200).astype(int)
    columns = [
        np.sort(np.argpartition(scores + rng.gumbel(size=num_genes).astype(np.float32), -n)[-n:]) for n in lengths
    ]
    indices = np.concatenate(columns).astype(np.int32)
    values = (1 + rng.negative_binomial(1, 0.4, len(indices))).astype(np.float32)
    matrix = csr_matrix((values, indices, np.concatenate([[0], np.cumsum(lengths)])), (NUM_CELLS, num_genes))
    names = np.where(known, np.cumsum(known) - 1, 10**9 + np.arange(num_genes))
    var = pd.DataFrame(index=[f"ENSG{name:011d}" for name in names])
    anndata.AnnData(matrix, var=var).write_h5ad(folder / "cells.h5ad")
    SingleCellMemMapDataset.from_h5ad(folder / "cells.h5ad", folder / "archive", use_X_not_raw=True)
    return ArchiveCounts.open(folder / "archive")


def row_blocks() -> list[np.ndarray]:
    """All cells in order, so many at a time."""
    return [np.arange(start, min(start + CELLS_PER_READ, NUM_CELLS)) for start in range(0, NUM_CELLS, CELLS_PER_READ)]


def report(name: str, work: Callable[[], object], peer: float) -> float:
    """Measure and print one way."""
    speed = cells_per_s(work, NUM_CELLS)
    print(f"{name:35s}{speed:8,.0f} cells per CPU second, {speed / peer:.1f} times one at a time")
    return speed


def cells_per_s(work: Callable[[], object], num_cells: int) -> float:
    """Cells by CPU seconds: median of the runs, after one to warm up."""
    work()
    seconds = []
    for _ in range(NUM_RUNS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return num_cells / float(np.median(seconds))


def encode_blocks(cells: TokenizedOnRead, blocks: list[Counts]) -> None:
    """Ranking alone."""
    for counts in blocks:
        cells.encoder.encode(counts)


def encode_all(cells: TokenizedOnRead) -> None:
    """What writing tokens does."""
    for rows in row_blocks():
        cells.encode(rows)


def count_all(cells: TokenizedOnRead) -> None:
    """What a run does once before it packs."""
    cells.__dict__.pop("lengths", None)
    assert len(cells.lengths) == NUM_CELLS


def pack_all(cells: TokenizedOnRead, dictionaries: Dictionaries, max_tokens: int) -> None:
    """Plan, read, rank, mask and pack an epoch in random order."""
    dataset = PackedCellDataset(
        cells,
        dictionaries.tokenizer,
        max_seq_length=cells.max_length,
        max_tokens=max_tokens,
        masking=build_masking(dictionaries.tokenizer, seed=SEED),
    )
    sampler = TokenBudgetBatchSampler(
        dataset.token_lengths, max_tokens, num_samples=len(dataset), seed=SEED, num_epochs=1
    )
    assert sum(dataset[pack]["num_sequences"] for pack in sampler) == NUM_CELLS


def one_at_a_time(source: CountSource, dictionaries: Dictionaries, *, num_cells: int, batch_size: int = 16) -> None:
    """The peer."""
    tokenizer, medians, _ = dictionaries
    names = source.gene_tables[0]["index"]
    config = BertMaskConfig(tokenizer=tokenizer, random_tokens=tokenizer.gene_token_ids)
    order = np.random.default_rng(SEED).permutation(NUM_CELLS)[:num_cells]
    for start in range(0, num_cells, batch_size):
        samples = []
        for row in order[start : start + batch_size]:
            counts = source.read(np.array([row]))
            found = [(c, names[g]) for c, g in zip(counts.values.tolist(), counts.columns.tolist(), strict=True)]
            kept = [(c, gene) for c, gene in found if gene in tokenizer.vocab]
            total = sum(c for c, _ in found)
            values = np.array([c / total * 10_000 / medians[gene] for c, gene in kept])
            tokens = np.array([tokenizer.vocab[gene] for _, gene in kept])
            ids = torch.from_numpy(tokens[np.argsort(-values)][: V1.max_length])
            text, labels, loss_mask = apply_bert_pretraining_mask(ids, SEED + int(row), config)
            zeros = torch.zeros_like(text)
            samples.append(
                BertSample(
                    text=text,
                    types=zeros,
                    attention_mask=torch.ones_like(text),
                    labels=labels,
                    loss_mask=loss_mask,
                    is_random=zeros,
                )
            )
        bert_padding_collate_fn(samples, tokenizer.pad_id, min_length=V1.max_length)


if __name__ == "__main__":
    sys.exit(main())
