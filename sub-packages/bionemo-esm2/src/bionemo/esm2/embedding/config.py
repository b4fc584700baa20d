# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``infer_esm2``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.config import option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.flag_groups import SharedFlags
from bionemo.esm2.data.fasta_flags import FastaFlags
from bionemo.llm.flag_groups import ComputeFlags, ModelSourceFlags


DATA, OUTPUT, COMPUTE, MODEL = "data", "output", "compute", "model"


@dataclass(frozen=True, kw_only=True)
class InferESM2Config(ModelSourceFlags, ComputeFlags):
    """Embed proteins: a table by id and row, complete or absent; a killed run is resumed by the same call."""

    data_path: Path = option(
        group=DATA,
        help="Proteins: FASTA file or folder, .csv, .tsv or .parquet; text also compressed (.gz, .bz2, .xz, .zst).",
    )
    sequence_column: str | None = option(
        None, group=DATA, help="Column of the sequences; default: sequences or sequence."
    )
    id_column: str | None = option(
        None, group=DATA, help="Column of the ids of a table; default: id, and without one the row number."
    )
    illegal: Literal["error", "unk"] = option_like(FastaFlags, "illegal", "error")
    on_bad_record: Literal["error", "skip", "fix"] = option_like(FastaFlags, "on_bad_record", "error")
    results_path: Path = option_like(SharedFlags, "results_path")

    embedding: tuple[Literal["mean", "cls", "max", "sum"], ...] = option(
        (),
        group=OUTPUT,
        help="Vectors of a whole protein: mean, max or sum over its residues without special tokens, or the first "
        "token's (cls).",
    )
    include_embeddings: bool = option(
        False, group=OUTPUT, help="Write mean embeddings, as --embedding mean does (BioNeMo 2 compatible)."
    )
    include_hiddens: bool = option(
        False, group=OUTPUT, aliases=("--per-residue",), help="Write a vector of each residue: 4 H bytes."
    )
    include_logits: bool = option(
        False, group=OUTPUT, help="Write scores of the 33 tokens at each residue, nothing masked."
    )
    include_input_ids: bool = option(False, group=OUTPUT, help="Write the token id of each residue.")
    pseudo_perplexity: bool = option(
        False,
        group=OUTPUT,
        help="Write each protein's pseudo-perplexity: every residue is masked in turn, one forward pass each.",
    )
    layers: tuple[int, ...] = option(
        (-1,),
        group=OUTPUT,
        help="Layers to embed: 0 is the embedding, 1 the first block, -1 the last, after the final LayerNorm.",
    )
    prediction_interval: Literal["epoch", "batch"] = option(
        "epoch",
        group=OUTPUT,
        help="epoch: one sequences.parquet; batch: a folder sequences/ with a file for each partition.",
    )

    tokens_per_batch: int | None = option_like(SharedFlags, "tokens_per_batch", None, group=COMPUTE)
    micro_batch_size: int | None = option_like(SharedFlags, "micro_batch_size", None, group=COMPUTE)

    config_class: Literal["ESM2Config"] = option("ESM2Config", group=MODEL, help="Kind of model: the base model.")
    tensor_model_parallel_size: Literal[1] = option(
        1, group=MODEL, help="Accepted as 1 (BioNeMo 2 compatible): each rank runs the whole model."
    )
    pipeline_model_parallel_size: Literal[1] = option(1, group=MODEL, help="Accepted as 1, likewise.")

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range, or nothing is asked for; the message names the flag.
        """
        super().__post_init__()
        for name in ("tokens_per_batch", "micro_batch_size", "num_gpus", "num_nodes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: must be at least 1.")
        if self.micro_batch_size is not None and self.tokens_per_batch is not None:
            raise ConfigError("--micro-batch-size and --tokens-per-batch exclude each other. Give one of them.")
        if not self.layers:
            raise ConfigError("--layers: none given. Name layers, or leave the flag out.")
        if not (self.kinds or self.has_residues or self.pseudo_perplexity):
            raise ConfigError(
                "nothing is asked for: give --embedding mean, --include-hiddens, --include-logits, "
                "--include-input-ids or --pseudo-perplexity."
            )

    @property
    def kinds(self) -> tuple[Literal["mean", "cls", "max", "sum"], ...]:
        """The embeddings asked for, each once."""
        mean: tuple[Literal["mean"], ...] = ("mean",) if self.include_embeddings else ()
        return tuple(dict.fromkeys((*self.embedding, *mean)))

    @property
    def has_residues(self) -> bool:
        """Whether anything is written of each residue."""
        return self.include_hiddens or self.include_logits or self.include_input_ids
