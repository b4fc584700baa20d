# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Perturb cells of an AnnData object and get the shifts as a data frame; nothing is written."""

import copy
from typing import TYPE_CHECKING

import pyarrow as pa

from bionemo.core.errors import ConfigError
from bionemo.core.progress import progress_bar
from bionemo.geneformer.data.count_sources import open_adata
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.open_cells import CountReading, tokenize_counts
from bionemo.geneformer.embedding.encoder import build_encoder, default_tokens_per_batch
from bionemo.geneformer.perturbation.job import build_job, embed_states
from bionemo.geneformer.perturbation.results_table import measure_partition
from bionemo.geneformer.perturbation.settings import PerturbationSettings, check_settings
from bionemo.llm.model.biobert.hidden_states import layer_index
from bionemo.llm.model.biobert.inference import choose_compiler, precision_on
from bionemo.llm.model.biobert.model import MegatronBioBertModel


if TYPE_CHECKING:
    import anndata
    import pandas as pd


def perturb_anndata(
    model: MegatronBioBertModel,
    dictionaries: Dictionaries,
    adata: "anndata.AnnData",
    settings: PerturbationSettings,
    *,
    counts_layer: str | None = None,
    feature_type: str | None = None,
    gene_column: str | None = None,
    allow_fractional_counts: bool = False,
    min_coverage: float = 0.3,
    precision: str = "auto",
    compile: bool | None = None,
) -> "pd.DataFrame":
    """Perturb cells.

    Args:
        model: In evaluation mode, on the device where it shall run.
        dictionaries: The model's, with medians.
        adata: Raw counts, cells by genes.
        settings: What to do.
        counts_layer: Key of ``layers``, ``"X"`` or ``"raw.X"``; None: the first of ``raw.X``, ``X`` and the layer
            ``counts`` that holds counts.
        feature_type: Value of ``var["feature_types"]`` in multimodal data; None: gene expression.
        gene_column: Column of ``var`` that names genes; None: the one with most known genes.
        allow_fractional_counts: Whether counts may be fractional.
        min_coverage: Share of the counts that known genes must hold.
        precision: "auto", "32-true", "bf16-mixed" or "16-mixed"; auto: bf16-mixed on a GPU, else 32-true.
        compile: Compile the layers of a copy of the model; None: on a GPU, where that repays.

    Returns:
        A row for each edit of each cell, with the columns of ``shifts.parquet``.

    Raises:
        ConfigError: Settings contradict each other, or there are no medians.
        DataError: The counts cannot be ranked, or a gene, column or state is not there.
    """
    check_settings(settings)
    if settings.gene_cosines:
        raise ConfigError("gene_cosines: may have millions of rows; write them with perturb_geneformer.")
    if not dictionaries.medians:
        raise ConfigError("gene_medians: the checkpoint holds none, and counts are ranked by them. Give the file.")
    device = next(model.parameters()).device
    layer_index(settings.layer, model.bert_config.num_layers)  # refuses what is not there, before anything starts
    tokenizer = dictionaries.tokenizer
    reading = CountReading(
        max_length=model.bert_config.seq_length,
        gene_column=gene_column,
        allow_fractions=allow_fractional_counts,
        min_coverage=min_coverage,
        empty_cells="skip",
    )
    source = open_adata(adata, layer=counts_layer, feature_type=feature_type, allow_fractions=allow_fractional_counts)
    cells = tokenize_counts(source, dictionaries, reading, name="adata")
    job = build_job(
        settings,
        tokenizer,
        lambda: cells,
        max_length=model.bert_config.seq_length,
        max_tokens=default_tokens_per_batch(device.type),
    )
    precision = precision_on(device, precision)
    backend = choose_compiler(
        compile, device=device.type, precision=precision, num_tokens=job.num_tokens, max_tokens=job.max_tokens
    )
    encode = build_encoder(
        model if backend is None else copy.deepcopy(model),
        settings.layer,
        precision=precision,
        has_repeats=True,
        compile_backend=backend,
        max_tokens=job.max_tokens,
    )
    states = embed_states(encode, job)
    tables = []
    with progress_bar(total=job.num_cells, unit="cell", description="Perturbing") as bar:
        for partition in job.partitions:
            tables.append(measure_partition(encode, job, partition, states).shifts)
            bar.update(len(partition))
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame
