# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``infer_geneformer``."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bionemo.core.config import option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.exclusive_settings import Exclusive
from bionemo.core.flag_groups import SharedFlags
from bionemo.geneformer.flag_groups import CellFlags, CountFlags, DictionaryFlags
from bionemo.llm.flag_groups import CompileFlags, ComputeFlags, DeviceFlags, ModelSourceFlags


DATA, OUTPUT, COMPUTE = "data", "output", "compute"
OF_LENGTHS = "config_class=FineTuneSeqLenBioBertConfig"


@dataclass(frozen=True, kw_only=True)
class InferGeneformerConfig(ModelSourceFlags, DictionaryFlags, CountFlags, ComputeFlags, CompileFlags):
    """Embed cells: a table by cell id, complete or absent; a killed run is resumed by the same call."""

    exclusive: ClassVar[Exclusive] = (
        ("tokens_per_batch", ("micro_batch_size",)),
        ("embeddings=False", ("embedding", "format=h5ad")),
        ("predictions", ("compile", OF_LENGTHS)),
        ("compile", (OF_LENGTHS,)),
    )

    data_dir: Path = option(
        group=DATA,
        aliases=("--data-path",),
        help="Cells: folder of tokenize_geneformer, .parquet, or counts (SCDL archive, .h5ad, zarr, 10x .h5, mtx).",
    )
    results_path: Path = option_like(SharedFlags, "results_path")
    id_column: str | None = option_like(CellFlags, "id_column", None)
    empty_cells: Literal["error", "skip"] = option_like(CellFlags, "empty_cells", "error")
    include_unrecognized_vocab_in_dataset: bool = option_like(
        CellFlags, "include_unrecognized_vocab_in_dataset", False
    )
    seq_length: int | None = option_like(CellFlags, "seq_length", None)

    embeddings: bool = option(True, group=OUTPUT, help="Write the cells' embeddings.")
    embedding: tuple[Literal["cls", "cell"], ...] | None = option_like(CellFlags, "embedding", None)
    layer: int = option_like(CellFlags, "layer", -1)
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

    tokens_per_batch: int | None = option_like(SharedFlags, "tokens_per_batch", None, group=COMPUTE)
    micro_batch_size: int | None = option_like(SharedFlags, "micro_batch_size", None, group=COMPUTE)
    num_dataset_workers: int = option_like(SharedFlags, "num_dataset_workers", 0, group=COMPUTE)
    precision: Literal["auto", "fp32", "32", "fp32-mixed", "bf16-mixed", "16-mixed", "fp16-mixed", "16"] = option_like(
        DeviceFlags, "precision", "auto"
    )

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range, or settings contradict each other; the message names the flag.
        """
        super().__post_init__()
        for name in ("seq_length", "tokens_per_batch", "micro_batch_size", "num_gpus", "num_nodes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: must be at least 1.")
        if self.num_dataset_workers < 0:
            raise ConfigError("--num-dataset-workers: must not be negative.")
        if self.micro_batch_size is not None and self.tokens_per_batch is not None:
            raise ConfigError("--micro-batch-size and --tokens-per-batch exclude each other. Give one of them.")
        if not self.embeddings and self.embedding is not None:
            raise ConfigError("--embedding contradicts --no-embeddings. Give one of them.")
        if self.compile and (self.predictions or self.config_class != "GeneformerConfig"):
            raise ConfigError("--compile: not with the head of a fine-tuned model. Leave it out.")
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
