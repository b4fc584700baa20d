# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command's face: flags, help and start-up."""

from bionemo.core.config import parse
from bionemo.core.config_fields import config_fields
from bionemo.geneformer.train_config import TrainGeneformerConfig, check_flags
from bionemo.llm.training.config import PretrainConfig


OWN_FLAGS = """
--allow-fractional-counts --attention-dropout --biobert-spec-option --cosine-hold-frac --cosine-rampup-frac
--counts-layer --data-dir --empty-cells --feature-type --ffn-hidden-size --gene-column --gene-mapping
--gene-medians --gene-names --hidden-dropout --hidden-size --include-unrecognized-vocab-in-dataset
--min-coverage --model --num-attention-heads --num-layers --seq-length --token-dictionary --train-tokens
--training-model-config-class --valid-fraction --valid-tokens
"""


def test_flags_are_the_documented_ones() -> None:
    shared = {field.spelling for field in config_fields(PretrainConfig)}
    spellings = {field.spelling for field in config_fields(TrainGeneformerConfig)}
    assert shared <= spellings
    assert sorted(spellings - shared) == OWN_FLAGS.split()


def test_established_defaults() -> None:
    config = parse(TrainGeneformerConfig, ["--devices=2", "--max-steps=7", "--no-save-best-checkpoint"])
    assert (config.num_gpus, config.num_steps, config.save_best_checkpoint) == (2, 7, False)
    config = TrainGeneformerConfig()
    assert (config.lr, config.num_steps, config.num_dataset_workers) == (1e-4, 10_000, 0)
    assert (config.num_layers, config.hidden_size, config.num_attention_heads, config.ffn_hidden_size) == (
        6,
        256,
        4,
        512,
    )
    assert (config.cosine_rampup_frac, config.cosine_hold_frac, config.experiment_name) == (0.01, 0.05, "geneformer")


def test_tokens_bring_no_gene_names_and_may_be_given_some() -> None:
    arguments = ["--train-tokens", "tokens", "--token-dictionary", "v.json", "--gene-names", "names.json"]
    check_flags(parse(TrainGeneformerConfig, arguments))
