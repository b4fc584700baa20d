# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of Geneformer's pretraining."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bionemo.core.config import option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.exclusive_settings import Exclusive
from bionemo.core.flag_groups import RunFlags, SharedFlags
from bionemo.geneformer.flag_groups import CellFlags, CountFlags, DictionaryFlags
from bionemo.geneformer.model.sizes import GENEFORMER_SIZES
from bionemo.llm.flag_groups import OptimizationFlags, TransformerSizeFlags
from bionemo.llm.training.config import (
    BATCHES,
    DATA,
    MODEL,
    SHAPE_FIELDS,
    TRAINING,
    PretrainConfig,
    check_contradictions,
    flag,
)


@dataclass(frozen=True, kw_only=True)
class TrainGeneformerConfig(DictionaryFlags, CountFlags, PretrainConfig):
    """Pretrain Geneformer on single cells, to a checkpoint that transformers opens."""

    at_least_one: ClassVar[tuple[str, ...]] = (*PretrainConfig.at_least_one, "seq_length", *SHAPE_FIELDS)

    exclusive: ClassVar[Exclusive] = (
        *PretrainConfig.exclusive,
        ("model", SHAPE_FIELDS),
        ("data_dir", ("train_tokens", "valid_tokens", "valid_fraction")),
        ("valid_tokens", ("valid_fraction",)),
        (
            "train_tokens",
            (
                "counts_layer",
                "feature_type",
                "gene_column",
                "include_unrecognized_vocab_in_dataset",
                "allow_fractional_counts",
            ),
        ),
        ("restore_from_checkpoint_path", ("model", *SHAPE_FIELDS, "hidden_dropout", "attention_dropout")),
    )

    data_dir: Path | None = option(
        None, group=DATA, help="Folder with train/ and val/, each an SCDL archive or tokenized cells."
    )
    train_tokens: Path | None = option(
        None, group=DATA, help="Tokenized training cells: folder of tokenize_geneformer, or a parquet file."
    )
    valid_tokens: Path | None = option(None, group=DATA, help="Tokenized validation cells, like --train-tokens.")
    valid_fraction: float = option_like(SharedFlags, "valid_fraction", 0.05, group=DATA)
    empty_cells: Literal["error", "skip"] = option_like(CellFlags, "empty_cells", "error")
    include_unrecognized_vocab_in_dataset: bool = option_like(
        CellFlags, "include_unrecognized_vocab_in_dataset", False
    )

    model: str | None = option(
        None, group=MODEL, choices=tuple(GENEFORMER_SIZES), help="A published size, instead of the four sizes."
    )
    num_layers: int = option_like(TransformerSizeFlags, "num_layers", 6)
    hidden_size: int = option_like(TransformerSizeFlags, "hidden_size", 256)
    num_attention_heads: int = option_like(TransformerSizeFlags, "num_attention_heads", 4)
    ffn_hidden_size: int = option_like(TransformerSizeFlags, "ffn_hidden_size", 512)
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

    seq_length: int | None = option_like(CellFlags, "seq_length", None, group=BATCHES)
    num_dataset_workers: int = option_like(SharedFlags, "num_dataset_workers", 0, group=BATCHES)

    num_steps: int = option_like(OptimizationFlags, "num_steps", 10_000)
    lr: float = option_like(OptimizationFlags, "lr", 1e-4)
    cosine_rampup_frac: float = option(0.01, group=TRAINING, help="Share of the steps before the peak.")
    cosine_hold_frac: float = option(
        0.05, group=TRAINING, help="Share of the steps, at the end, with a hundredth of the peak."
    )

    experiment_name: str = option_like(RunFlags, "experiment_name", "geneformer")

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


NO_TRAINING_DATA = "no training data: give --data-dir with train/ and val/, or --train-tokens."


def check_flags(config: TrainGeneformerConfig) -> None:
    """Refuse flags that contradict each other, and a run without data or without a vocabulary.

    Raises:
        ConfigError: The message names the flags.
    """
    check_contradictions(config)
    if config.data_dir is None and config.train_tokens is None:
        raise ConfigError(NO_TRAINING_DATA)
    if config.token_dictionary is None and config.restore_from_checkpoint_path is None:
        raise ConfigError("--token-dictionary: required, unless --restore-from-checkpoint-path brings one.")
