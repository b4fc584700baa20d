# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``infer_esm2``."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bionemo.core.config import option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.exclusive_settings import Exclusive
from bionemo.core.flag_groups import SharedFlags
from bionemo.esm2.data.fasta_flags import FastaFlags
from bionemo.llm.flag_groups import CompileFlags, ComputeFlags, ModelSourceFlags


DATA, OUTPUT, COMPUTE, MODEL = "data", "output", "compute", "model"


@dataclass(frozen=True, kw_only=True)
class InferESM2Config(ModelSourceFlags, ComputeFlags, CompileFlags):
    """Embed proteins: a table by id and row, complete or absent; a killed run is resumed by the same call."""

    exclusive: ClassVar[Exclusive] = (
        ("tokens_per_batch", ("micro_batch_size",)),
        ("format=pt", ("layers", "plot")),
    )

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
    format: Literal["parquet", "zarr", "pt"] = option(
        "parquet",
        group=OUTPUT,
        help="parquet: a table, and residues as shards of safetensors; zarr: a table, and residues as one zarr store; "
        "pt: the padded tensors of BioNeMo Framework 2, with special tokens.",
    )
    plot: Literal["umap", "pca"] | None = option(
        None,
        group=OUTPUT,
        help="Write embeddings.html: the first embedding asked for in two dimensions, a point for each protein with "
        "its id; of more than 20,000 proteins a random part.",
    )
    resume: bool = option(
        True, group=OUTPUT, help="Resume what a killed run left beside --results-path; --no-resume discards it."
    )

    length_policy: Literal["full", "window", "truncate", "error"] = option(
        "full",
        group=COMPUTE,
        help="Proteins of more than --max-seq-length tokens: run whole, in overlapping windows of that many tokens, "
        "cut (which is logged), or refused.",
    )
    max_seq_length: int = option(
        1024, group=COMPUTE, help="Tokens, special ones included, of a window or of the longest protein."
    )

    tokens_per_batch: int | None = option_like(SharedFlags, "tokens_per_batch", None, group=COMPUTE)
    micro_batch_size: int | None = option_like(SharedFlags, "micro_batch_size", None, group=COMPUTE)

    config_class: Literal["ESM2Config", "ESM2FineTuneSeqConfig", "ESM2FineTuneTokenConfig"] = option(
        "ESM2Config", group=MODEL, help="Kind of model: the base model; fine-tuned heads predict with predict_esm2."
    )
    lora_checkpoint_path: Path | None = option(
        None, group=MODEL, help="Refused (BioNeMo 2 compatible): give the fine-tuned folder as --checkpoint-path."
    )
    initial_ckpt_skip_keys_with_these_prefixes: tuple[str, ...] = option(
        (), group=MODEL, help="Accepted as empty (BioNeMo 2 compatible): heads of other tasks are left out anyway."
    )
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
        self._check_model()
        for name in ("tokens_per_batch", "micro_batch_size", "num_gpus", "num_nodes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: must be at least 1.")
        if self.micro_batch_size is not None and self.tokens_per_batch is not None:
            raise ConfigError("--micro-batch-size and --tokens-per-batch exclude each other. Give one of them.")
        if not self.layers:
            raise ConfigError("--layers: none given. Name layers, or leave the flag out.")
        if self.max_seq_length < 4:
            raise ConfigError(f"--max-seq-length {self.max_seq_length}: must be at least 4.")
        if not (self.kinds or self.has_residues or self.pseudo_perplexity):
            raise ConfigError(
                "nothing is asked for: give --embedding mean, --include-hiddens, --include-logits, "
                "--include-input-ids or --pseudo-perplexity."
            )
        self._check_output()

    def _check_model(self) -> None:
        if self.config_class != "ESM2Config":
            raise ConfigError(f"--config-class {self.config_class}: a fine-tuned head predicts with predict_esm2.")
        if self.lora_checkpoint_path is not None:
            raise ConfigError("--lora-checkpoint-path: give the fine-tuned folder as --checkpoint-path.")
        if self.initial_ckpt_skip_keys_with_these_prefixes:
            raise ConfigError(
                "--initial-ckpt-skip-keys-with-these-prefixes: leave it out, heads of other tasks are not read."
            )

    def _check_output(self) -> None:
        if self.format == "zarr" and not self.has_residues:
            raise ConfigError("--format zarr: is of residues; add --include-hiddens, --include-logits or others.")
        if self.format == "pt" and (set(self.kinds) - {"mean"} or self.layers != (-1,) or self.plot is not None):
            raise ConfigError(
                "--format pt: holds mean embeddings and the last layer alone, as in BioNeMo Framework 2; leave out "
                "other --embedding, --layers and --plot, or --format."
            )
        if self.plot is not None and not self.kinds:
            raise ConfigError("--plot: needs an embedding of whole proteins, for example --embedding mean.")

    @property
    def kinds(self) -> tuple[Literal["mean", "cls", "max", "sum"], ...]:
        """The embeddings asked for, each once."""
        mean: tuple[Literal["mean"], ...] = ("mean",) if self.include_embeddings else ()
        return tuple(dict.fromkeys((*self.embedding, *mean)))

    @property
    def has_residues(self) -> bool:
        """Whether anything is written of each residue."""
        return self.include_hiddens or self.include_logits or self.include_input_ids
