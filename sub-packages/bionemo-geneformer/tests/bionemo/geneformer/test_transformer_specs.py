# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Geneformer's layers: where the norms stand in each family, and that every spec option of BERT builds them."""

import pytest
import torch

from bionemo.geneformer.api import build_geneformer, geneformer_config
from bionemo.llm.model.biobert.transformer_specs import BiobertSpecOption


SMALL = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "ffn_hidden_size": 48, "vocab_size": 300}
MATRICES = {f"self_attention.{name}" for name in ("linear_qkv", "linear_proj")} | {"mlp.linear_fc1", "mlp.linear_fc2"}
NORMS = {
    "V1": {"self_attn_bda.layer_norm", "mlp_bda.layer_norm"},
    "V2": {"self_attn_bda.layer_norm", "mlp_bda.layer_norm"},
    "BIONEMO": {"input_layernorm", "pre_mlp_layernorm"},
}
OUTSIDE = {
    "V1": {"embedding.token_type_embeddings.weight", "embedding.layer_norm.weight", "embedding.layer_norm.bias"},
    "V2": {"embedding.token_type_embeddings.weight", "embedding.layer_norm.weight", "embedding.layer_norm.bias"},
    "BIONEMO": {"encoder.final_layernorm.weight", "encoder.final_layernorm.bias"},
}
SHARED = {
    "embedding.word_embeddings.weight", "embedding.position_embeddings.weight", "output_layer.bias",
    *(f"lm_head.{part}.{kind}" for part in ("dense", "layer_norm") for kind in ("weight", "bias")),
}  # fmt: skip


@pytest.mark.parametrize("family", NORMS)
def test_parameters_of_each_family(family: str) -> None:
    names = set(build_geneformer(geneformer_config(family, **SMALL)).model.state_dict())
    inside = {f"{part}.{kind}" for part in MATRICES | NORMS[family] for kind in ("weight", "bias")}
    layers = {f"encoder.layers.{layer}.{name}" for layer in range(2) for name in inside}
    assert names == layers | OUTSIDE[family] | SHARED


@pytest.mark.parametrize(
    "option", [option for option in BiobertSpecOption if not option.startswith("esm2") and "qk_ln" not in option]
)
@pytest.mark.parametrize("family", ["V1", "BIONEMO"])
def test_spec_options_build_the_same_layers(family: str, option: str) -> None:
    ids = torch.tensor([[5, 9, 1, 30]])
    reference = build_geneformer(geneformer_config(family, **SMALL), seed=3).eval()
    module = build_geneformer(geneformer_config(family, **SMALL, biobert_spec_option=option), seed=3).eval()
    with torch.no_grad():
        assert torch.equal(module(ids).token_logits, reference(ids).token_logits)
