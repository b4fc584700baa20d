# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny models of every family with their dictionaries, and made-up cells as counts, archive and tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from bionemo.geneformer.api import build_geneformer, geneformer_config, save_geneformer
from bionemo.geneformer.data.count_sources import open_adata
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.tokenize_on_read import TokenizedOnRead
from bionemo.geneformer.data.write_tokenized import TokenizeOptions, write_tokenized
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import VARIANTS
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.testing.cells import Cells, make_cells


NUM_CELLS, NUM_GENES, CONTEXT = 30, 50, 40


class EmbeddingFiles(NamedTuple):
    """What the command reads."""

    cells: Cells
    dictionaries: Dictionaries
    checkpoint: Path
    h5ad: Path
    archive: Path
    tokens: Path


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Results to the last bit must not depend on the machine's cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def embedding_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], EmbeddingFiles]:
    """The files of one variant, made once."""
    made: dict[str, EmbeddingFiles] = {}

    def files(variant: str) -> EmbeddingFiles:
        if variant not in made:
            made[variant] = make_files(tmp_path_factory.mktemp(variant), variant)
        return made[variant]

    return files


def make_files(folder: Path, variant: str) -> EmbeddingFiles:
    cells = make_cells(NUM_CELLS, num_genes=NUM_GENES, counts_per_cell=120)
    medians = dict(zip(cells.gene_ids, np.random.default_rng(0).lognormal(1, 1, NUM_GENES).tolist(), strict=True))
    symbols = {f"SYM{number}": gene for number, gene in enumerate(cells.gene_ids)}
    tokenizer = GeneTokenizer.from_medians_and_genes_dicts(medians, symbols, variant=VARIANTS[variant])
    dictionaries = Dictionaries(tokenizer, medians, {})
    config = geneformer_config(
        variant,
        num_layers=3,
        hidden_size=32,
        num_attention_heads=2,
        ffn_hidden_size=64,
        vocab_size=tokenizer.vocab_size,
        vocabulary_fingerprint=tokenizer.fingerprint,
        seq_length=CONTEXT,
        init_method_std=0.3,
    )
    module = build_geneformer(config, seed=3)
    module.dictionaries = dictionaries
    save_geneformer(module, folder / "model")
    adata = cells.to_anndata()
    adata.write_h5ad(folder / "cells.h5ad")
    SingleCellMemMapDataset.from_h5ad(folder / "cells.h5ad", folder / "archive", use_X_not_raw=True)
    counts = TokenizedOnRead(open_adata(adata), dictionaries, max_length=CONTEXT)
    tokens = write_tokenized(counts, folder / "tokens", TokenizeOptions(obs_columns=("cell_type",)))
    return EmbeddingFiles(cells, dictionaries, folder / "model", folder / "cells.h5ad", folder / "archive", tokens)
