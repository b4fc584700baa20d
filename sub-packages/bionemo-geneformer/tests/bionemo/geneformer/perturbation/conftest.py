# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A tiny model with its dictionaries, and made-up cells in two states, as counts and as tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from bionemo.geneformer.api import build_geneformer, geneformer_config, save_geneformer
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import VARIANTS
from bionemo.testing.cells import Cells, make_cells


NUM_CELLS, NUM_GENES, CONTEXT = 16, 24, 32


class PerturbationFiles(NamedTuple):
    """What the command reads."""

    cells: Cells
    dictionaries: Dictionaries
    checkpoint: Path
    h5ad: Path
    tokens: Path
    states: np.ndarray


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Any:
    """Results to the last bit must not depend on the machine's cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def perturbation_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], PerturbationFiles]:
    """The files of one variant, made once."""
    made: dict[str, PerturbationFiles] = {}

    def files(variant: str) -> PerturbationFiles:
        if variant not in made:
            made[variant] = make_files(tmp_path_factory.mktemp(variant), variant)
        return made[variant]

    return files


def make_files(folder: Path, variant: str) -> PerturbationFiles:
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = make_cells(NUM_CELLS, num_genes=NUM_GENES, counts_per_cell=60)
    symbols = {f"SYM{number}": gene for number, gene in enumerate(cells.gene_ids)}
    medians = dict.fromkeys(cells.gene_ids, 1.0)
    tokenizer = GeneTokenizer.from_medians_and_genes_dicts(medians, symbols, variant=VARIANTS[variant])
    dictionaries = Dictionaries(tokenizer, medians, {})
    config = geneformer_config(
        variant,
        num_layers=2,
        hidden_size=32,
        num_attention_heads=2,
        ffn_hidden_size=64,
        vocab_size=tokenizer.vocab_size,
        seq_length=CONTEXT,
        init_method_std=0.5,
    )
    module = build_geneformer(config, seed=3)
    module.dictionaries = dictionaries
    save_geneformer(module, folder / "model")
    states = np.where(np.arange(NUM_CELLS) % 3 == 2, "well", "sick")
    adata = cells.to_anndata()
    adata.obs["state"] = states
    adata.write_h5ad(folder / "cells.h5ad")
    first = len(tokenizer.variant.special_tokens)
    prefix, suffix = ([] if token_id is None else [token_id] for token_id in (tokenizer.class_id, tokenizer.eos_id))
    lists = [[*prefix, *(row.indices[np.lexsort((row.indices, -row.data))] + first), *suffix] for row in cells.counts]
    columns = {"input_ids": lists, "state": states, "cell_id": [f"cell{number}" for number in range(NUM_CELLS)]}
    pq.write_table(pa.table(columns), folder / "cells.parquet")
    return PerturbationFiles(
        cells, dictionaries, folder / "model", folder / "cells.h5ad", folder / "cells.parquet", states
    )
