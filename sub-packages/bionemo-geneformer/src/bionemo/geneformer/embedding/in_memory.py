# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Embed the cells of an AnnData object; nothing is written."""

import copy
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError
from bionemo.core.progress import progress_bar
from bionemo.geneformer.api import GeneformerMaskedLM
from bionemo.geneformer.data.count_sources import open_adata
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.open_cells import CountReading, tokenize_counts
from bionemo.geneformer.data.tokenize_on_read import MIN_COVERAGE
from bionemo.geneformer.embedding.embedder import CellEmbedder, EmbeddingOptions
from bionemo.geneformer.embedding.encoder import default_tokens_per_batch
from bionemo.geneformer.embedding.pooling import EmbeddingKind
from bionemo.llm.model.biobert.inference import choose_compiler, precision_on


if TYPE_CHECKING:
    import anndata


def embed_anndata(
    module: GeneformerMaskedLM,
    dictionaries: Dictionaries,
    adata: "anndata.AnnData",
    *,
    embedding: EmbeddingKind | None = None,
    layer: int = -1,
    counts_layer: str | None = None,
    feature_type: str | None = None,
    gene_column: str | None = None,
    empty_cells: Literal["error", "nan"] = "error",
    allow_fractional_counts: bool = False,
    min_coverage: float = MIN_COVERAGE,
    precision: str = "auto",
    compile: bool | None = None,
) -> NDArray[np.float32]:
    """Rank and embed every cell.

    Args:
        module: The model, on the device where it shall run.
        dictionaries: The model's, with medians.
        adata: Raw counts, cells by genes; it is not changed.
        embedding: ``cls``: the first token's vector; ``cell``: the mean over genes; None: cell for V1, else cls.
        layer: 0 is the last, -1 the one before.
        counts_layer: Key of ``layers``, ``"X"`` or ``"raw.X"``; None: the first of ``raw.X``, ``X`` and the layer
            ``counts`` that holds counts.
        feature_type: Value of ``var["feature_types"]`` in multimodal data; None: gene expression.
        gene_column: Column of ``var`` that names genes; None: the one with most known genes.
        empty_cells: Whether a cell without known genes is an error, or gets NaN.
        allow_fractional_counts: Whether counts may be fractional.
        min_coverage: Share of the counts that known genes must hold.
        precision: "auto", "32-true", "bf16-mixed" or "16-mixed"; auto: bf16-mixed on a GPU, else 32-true.
        compile: Compile the layers of a copy of the model; None: on a GPU, where that repays.

    Returns:
        [cells, H], in the order of ``adata``.

    Raises:
        ConfigError: There are no medians, no such layer or embedding.
        DataError: The counts cannot be ranked.
    """
    if not dictionaries.medians:
        raise ConfigError("gene_medians: the checkpoint holds none, and counts are ranked by them. Give the file.")
    kind: EmbeddingKind = embedding or ("cell" if dictionaries.tokenizer.class_id is None else "cls")
    device = next(module.parameters()).device
    reading = CountReading(
        max_length=module.config.seq_length,
        gene_column=gene_column,
        allow_fractions=allow_fractional_counts,
        min_coverage=min_coverage,
        empty_cells="error" if empty_cells == "error" else "skip",
    )
    source = open_adata(adata, layer=counts_layer, feature_type=feature_type, allow_fractions=allow_fractional_counts)
    cells = tokenize_counts(source, dictionaries, reading, name="adata")
    max_tokens = max(default_tokens_per_batch(device.type), module.config.seq_length)
    precision = precision_on(device, precision)
    backend = choose_compiler(
        compile,
        device=device.type,
        precision=precision,
        num_tokens=int(cells.tokens.lengths[cells.indices].sum()),
        max_tokens=max_tokens,
    )
    options = EmbeddingOptions(
        kinds=(kind,), layer=layer, max_tokens=max_tokens, precision=precision, compile_backend=backend
    )
    if backend is not None:
        module = copy.deepcopy(module)
    embedder = CellEmbedder(module, dictionaries.tokenizer, options)
    embeddings = np.full((adata.n_obs, embedder.hidden_size), np.nan, dtype=np.float32)
    with progress_bar(total=len(cells.indices), unit="cell", description="Embedding") as bar:
        outputs = embedder.embed(cells.tokens, cells.indices, on_cells=bar.update)
    embeddings[cells.indices] = outputs.embeddings[kind]
    return embeddings
