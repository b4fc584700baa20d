# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``infer_geneformer``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.config import option
from bionemo.core.errors import ConfigError


DATA, OUTPUT, COMPUTE = "data", "output", "compute"


@dataclass(frozen=True, kw_only=True)
class InferGeneformerConfig:
    """Embed cells: a table by cell id, complete or absent, that a killed call goes on with."""

    data_dir: Path = option(
        group=DATA,
        aliases=("--data-path",),
        help="Cells: SCDL archive, folder of tokenize_geneformer, .parquet or .h5ad.",
    )
    checkpoint_path: Path = option(group=DATA, help="Model: folder in Hugging Face layout.")
    results_path: Path = option(group=OUTPUT, help="Folder to write; it appears when it is complete.")
    token_dictionary: Path | None = option(
        None, group=DATA, help="Gene to token id, JSON; None is that of --checkpoint-path."
    )
    gene_medians: Path | None = option(
        None, group=DATA, help="Gene to median, JSON, to rank counts; None is that of --checkpoint-path."
    )
    gene_names: Path | None = option(None, group=DATA, help="Gene symbol to Ensembl id, JSON, for data with symbols.")
    gene_mapping: Path | None = option(None, group=DATA, help="Identifier in the data to symbol or Ensembl id, JSON.")
    gene_column: str | None = option(
        None, group=DATA, help="Column that names the genes of counts; None finds the best known one."
    )
    id_column: str | None = option(
        None, group=DATA, help="Column of the cells' ids; None: index of obs, of tokens cell_id or else the number."
    )
    empty_cells: Literal["error", "skip"] = option(
        "error", group=DATA, help="What to do about a cell without known genes."
    )
    allow_fractional_counts: bool = option(False, group=DATA, help="Accept counts that are not whole.")
    min_coverage: float = option(0.3, group=DATA, help="Share of the counts, 0 to 1, that known genes must hold.")
    include_unrecognized_vocab_in_dataset: bool = option(
        False,
        group=DATA,
        aliases=("--refuse-unknown-genes",),
        help="Refuse counts of a gene that the vocabulary lacks (the established name says the opposite).",
    )
    seq_length: int | None = option(
        None, group=DATA, help="Longest cell in tokens, when counts are ranked; None is the model's context."
    )

    embeddings: bool = option(True, group=OUTPUT, help="Write the cells' embeddings.")
    embedding: tuple[Literal["cls", "cell"], ...] | None = option(
        None, group=OUTPUT, help="First token, mean over genes, or both; None: cell for V1, else cls."
    )
    layer: int = option(-1, group=OUTPUT, help="Layer of embeddings and hidden states: 0 the last, -1 the one before.")
    skip_last_gene: bool = option(
        False, group=OUTPUT, help="Leave each cell's lowest gene out of the mean, as BioNeMo Framework 2 does."
    )
    predictions: bool = option(
        False, group=OUTPUT, help="Write what a fine-tuned model predicts: classes with probabilities, or values."
    )
    include_gene_embeddings: bool = option(False, group=OUTPUT, help="Write each gene's mean vector over the cells.")
    include_input_ids: bool = option(False, group=OUTPUT, help="Write the tokens.")
    include_hiddens: bool = option(False, group=OUTPUT, help="Write hidden states: 4 H bytes a token.")
    include_logits: bool = option(False, group=OUTPUT, help="Write scores over the vocabulary: 100 kB a token.")
    prediction_interval: Literal["epoch", "batch"] = option(
        "epoch", group=OUTPUT, help="epoch: one cells.parquet; batch: a folder cells/ with a file for each partition."
    )
    format: Literal["parquet", "h5ad"] = option(
        "parquet", group=OUTPUT, help="h5ad: also cells.h5ad, an AnnData object with obs and obsm['X_geneformer']."
    )
    config_class: Literal["GeneformerConfig", "FineTuneSeqLenBioBertConfig"] = option(
        "GeneformerConfig", group=OUTPUT, help="The second also writes the cell's length that its head predicts."
    )

    tokens_per_batch: int | None = option(
        None, group=COMPUTE, help="Tokens of a pack; None: 32768 on a GPU, 4096 on a CPU."
    )
    micro_batch_size: int | None = option(
        None, group=COMPUTE, help="Cells of full context whose tokens make a pack, instead of --tokens-per-batch."
    )
    num_dataset_workers: int = option(0, group=COMPUTE, help="Processes that read and rank cells.")
    accelerator: Literal["auto", "cpu", "gpu"] = option("auto", group=COMPUTE, help="Where to compute.")
    num_gpus: int = option(1, group=COMPUTE, aliases=("--devices",), help="GPUs, or processes on a CPU, of a node.")
    num_nodes: int = option(1, group=COMPUTE, help="Nodes.")
    precision: Literal["auto", "fp32", "32", "fp32-mixed", "bf16-mixed", "16-mixed", "fp16-mixed", "16"] = option(
        "auto", group=COMPUTE, help="auto: bf16-mixed on a GPU, fp32 on a CPU."
    )

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range, or settings contradict each other; the message names the flag.
        """
        for name in ("seq_length", "tokens_per_batch", "micro_batch_size", "num_gpus", "num_nodes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: must be at least 1.")
        if self.num_dataset_workers < 0:
            raise ConfigError("--num-dataset-workers: must not be negative.")
        if not 0 <= self.min_coverage <= 1:
            raise ConfigError(f"--min-coverage {self.min_coverage}: expected a share from 0 to 1.")
        if self.micro_batch_size is not None and self.tokens_per_batch is not None:
            raise ConfigError("--micro-batch-size and --tokens-per-batch exclude each other. Give one of them.")
        if not self.embeddings and self.embedding is not None:
            raise ConfigError("--embedding contradicts --no-embeddings. Give one of them.")
        if self.predictions and self.config_class != "GeneformerConfig":
            raise ConfigError("--predictions and --config-class FineTuneSeqLenBioBertConfig exclude each other.")
        extras = (
            self.predictions, self.config_class != "GeneformerConfig", self.include_gene_embeddings,
            self.include_input_ids, self.include_hiddens, self.include_logits,
        )  # fmt: skip
        if not self.embeddings and not any(extras):
            raise ConfigError("--no-embeddings: then nothing is left to write. Ask for an --include flag.")
        if not self.embeddings and self.format == "h5ad":
            raise ConfigError("--format h5ad holds embeddings: leave --no-embeddings out.")
