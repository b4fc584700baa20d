# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Layer specs: every established name builds, with Megatron's parameter names."""

from types import SimpleNamespace

import pytest
import torch

from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.model import build_model
from bionemo.llm.model.biobert.transformer_specs import BiobertSpecOption, get_biobert_spec
from bionemo.llm.model.layers import ESM2QueryScaling


TOKENIZER = SimpleNamespace(vocab_size=33, mask_token_id=32, pad_token_id=1)


def test_names_equal_values() -> None:
    assert all(option.name == option.value for option in BiobertSpecOption)


@pytest.mark.parametrize("option", BiobertSpecOption)
def test_every_option_builds_a_layer_with_megatrons_names(option: BiobertSpecOption) -> None:
    config = BioBertConfig(num_layers=1, hidden_size=32, num_attention_heads=4, biobert_spec_option=option)
    model = build_model(config, TOKENIZER, seed=1)
    names = {name.removeprefix("encoder.layers.0.") for name in model.state_dict() if "layers.0" in name}
    expected = {
        f"{module}.{kind}"
        for module in (
            "input_layernorm", "self_attention.linear_qkv", "self_attention.linear_proj", "pre_mlp_layernorm",
            "mlp.linear_fc1", "mlp.linear_fc2",
        )
        for kind in ("weight", "bias")
    }  # fmt: skip
    if "qk_ln" in option:
        norms = ("self_attention.q_layernorm", "self_attention.k_layernorm")
        expected |= {f"{norm}.{kind}" for norm in norms for kind in ("weight", "bias")}
    assert names == expected
    scaled = isinstance(model.encoder.layers[0].self_attention.q_layernorm, ESM2QueryScaling)
    assert scaled == option.value.startswith("esm2")
    ids = torch.tensor([[0, 5, 6, 2]])
    assert model(ids)["token_logits"].shape == (4, 1, 128)


def test_unknown_option_is_named() -> None:
    with pytest.raises(NotImplementedError, match="Spec option amplify not implemented"):
        get_biobert_spec("amplify")
