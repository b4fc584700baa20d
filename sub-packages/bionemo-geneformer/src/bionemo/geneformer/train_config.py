# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of Geneformer's pretraining."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bionemo.core.config import option
from bionemo.core.errors import ConfigError
from bionemo.geneformer.model.sizes import GENEFORMER_SIZES
from bionemo.llm.training.config import (
    BATCHES,
    DATA,
    MODEL,
    OUTPUT,
    SHAPE_FIELDS,
    TRAINING,
    PretrainConfig,
    SampleLimit,
    check_contradictions,
    flag,
)


@dataclass(frozen=True, kw_only=True)
class TrainGeneformerConfig(PretrainConfig):
    """Pretrain Geneformer on single cells, to a checkpoint that transformers opens."""

    at_least_one: ClassVar[tuple[str, ...]] = (*PretrainConfig.at_least_one, "seq_length", *SHAPE_FIELDS)

    data_dir: Path | None = option(
        None, group=DATA, help="Folder with train/ and val/, each an SCDL archive or tokenized cells."
    )
    train_tokens: Path | None = option(
        None, group=DATA, help="Tokenized training cells: folder of tokenize_geneformer, or a parquet file."
    )
    valid_tokens: Path | None = option(None, group=DATA, help="Tokenized validation cells, like --train-tokens.")
    valid_fraction: float = option(
        0.05, group=DATA, help="Share of --train-tokens held out when no --valid-tokens are given."
    )
    token_dictionary: Path | None = option(
        None, group=DATA, help="Gene to token id, JSON; default: that of --restore-from-checkpoint-path."
    )
    gene_medians: Path | None = option(
        None, group=DATA, help="Gene to median of its non-zero counts, JSON; needed for archives."
    )
    gene_names: Path | None = option(None, group=DATA, help="Gene symbol to Ensembl id, JSON.")
    gene_mapping: Path | None = option(
        None, group=DATA, help="Identifier in the archives to symbol or Ensembl id, JSON: other species, old ids."
    )
    gene_column: str | None = option(
        None, group=DATA, help="Column of the archives' gene tables; default: the one with most known genes."
    )
    min_coverage: float = option(0.3, group=DATA, help="Share of the counts that known genes must hold at least.")
    allow_fractional_counts: bool = option(False, group=DATA, help="Take counts that are not whole numbers.")
    empty_cells: Literal["error", "skip"] = option(
        "error", group=DATA, help="What to do about cells without a known gene."
    )
    include_unrecognized_vocab_in_dataset: bool = option(
        False,
        group=DATA,
        aliases=("--refuse-unknown-genes",),
        help="Refuse archives with a gene that the dictionary lacks (the established name says the opposite).",
    )

    model: str | None = option(
        None, group=MODEL, choices=tuple(GENEFORMER_SIZES), help="A published size, instead of the four sizes."
    )
    num_layers: int = option(6, group=MODEL, help="Transformer layers.")
    hidden_size: int = option(256, group=MODEL, help="Channels of a token.")
    num_attention_heads: int = option(4, group=MODEL, help="Attention heads.")
    ffn_hidden_size: int = option(512, group=MODEL, help="Channels of the feed-forward layer.")
    hidden_dropout: float | None = option(
        None, group=MODEL, help="Dropout of embeddings and residuals; default: the family's, 0.02 or 0.1 (V2)."
    )
    attention_dropout: float | None = option(
        None, group=MODEL, help="Dropout of attention; default: the family's, 0.02 (V1) or 0.1. 0 is fastest on a GPU."
    )
    biobert_spec_option: Literal["bert_layer_local_spec", "bert_layer_with_transformer_engine_spec"] = option(
        "bert_layer_with_transformer_engine_spec",
        group=MODEL,
        help="Layer spec; both build the same local layers.",
    )
    training_model_config_class: Literal["GeneformerConfig", "FineTuneSeqLenBioBertConfig"] = option(
        "GeneformerConfig", group=MODEL, help="The second adds a head that predicts a cell's number of tokens."
    )

    seq_length: int | None = option(
        None, group=BATCHES, help="Longest cell in tokens; default: the family's, 2048 or 4096 (V2)."
    )
    num_dataset_workers: int = option(0, group=BATCHES, help="Processes that prepare batches.")

    num_steps: int = option(10_000, group=TRAINING, aliases=("--max-steps",), help="Optimizer steps.")
    lr: float = option(1e-4, group=TRAINING, help="Peak learning rate.")
    cosine_rampup_frac: float = option(0.01, group=TRAINING, help="Share of the steps before the peak.")
    cosine_hold_frac: float = option(
        0.05, group=TRAINING, help="Share of the steps, at the end, with a hundredth of the peak."
    )

    experiment_name: str = option("geneformer", group=OUTPUT, help="Folder of this run.")

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range; the message names the flag.
        """
        super().__post_init__()
        if not 0 < self.valid_fraction < 1:
            raise ConfigError(f"--valid-fraction {self.valid_fraction}: must lie between 0 and 1.")
        for name in ("cosine_rampup_frac", "cosine_hold_frac", "min_coverage", "hidden_dropout", "attention_dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{flag(name)} {value}: must lie between 0 and 1.")
        if self.cosine_rampup_frac + self.cosine_hold_frac > 1:
            raise ConfigError("--cosine-rampup-frac and --cosine-hold-frac: exceed 1 together.")

    @property
    def sample_limit(self) -> SampleLimit:
        """What bounds a sample's length; known once the family is."""
        assert self.seq_length is not None
        return SampleLimit("--seq-length", self.seq_length)


ARCHIVE_FIELDS = ("gene_names", "gene_mapping", "gene_column")
CONTRADICTIONS = (
    ("model", SHAPE_FIELDS),
    ("data_dir", ("train_tokens", "valid_tokens", "valid_fraction")),
    ("valid_tokens", ("valid_fraction",)),
    ("train_tokens", (*ARCHIVE_FIELDS, "include_unrecognized_vocab_in_dataset", "allow_fractional_counts")),
    ("restore_from_checkpoint_path", ("model", *SHAPE_FIELDS, "hidden_dropout", "attention_dropout")),
)


def check_flags(config: TrainGeneformerConfig) -> None:
    """Refuse flags that contradict each other, and a run without data or without a vocabulary.

    Raises:
        ConfigError: The message names the flags.
    """
    check_contradictions(config, CONTRADICTIONS)
    if config.data_dir is None and config.train_tokens is None:
        raise ConfigError("no training data: give --data-dir with train/ and val/, or --train-tokens.")
    if config.token_dictionary is None and config.restore_from_checkpoint_path is None:
        raise ConfigError("--token-dictionary: required, unless --restore-from-checkpoint-path brings one.")
