# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Layer specs: every established name builds, with Megatron's parameter names."""

from types import SimpleNamespace

import pytest
import torch

from bionemo.core.errors import ConfigError
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


def test_a_post_norm_layer_normalises_its_residual_sums() -> None:
    config = BioBertConfig(
        num_layers=2,
        hidden_size=32,
        num_attention_heads=4,
        norm_placement="post",
        num_token_types=2,
        hidden_dropout=0.0,
    )
    model = build_model(config, TOKENIZER, seed=1).eval()
    names = {name.removeprefix("encoder.layers.0.") for name in model.state_dict() if "norm" in name}
    assert {name for name in names if "layers" not in name} == {
        f"{norm}.{kind}"
        for norm in ("self_attn_bda.layer_norm", "mlp_bda.layer_norm", "embedding.layer_norm", "lm_head.layer_norm")
        for kind in ("weight", "bias")
    }
    seen: dict[str, torch.Tensor] = {}
    layer = model.encoder.layers[1]
    layer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(x=kwargs["hidden_states"]), with_kwargs=True
    )
    layer.self_attention.register_forward_hook(lambda module, args, out: seen.update(attention=out[0]))
    layer.mlp.register_forward_hook(lambda module, args, out: seen.update(mlp=out[0]))
    ids = torch.tensor([0, 5, 6, 2])
    with torch.no_grad():
        packed = model.forward_packed(ids, torch.arange(4), torch.tensor([0, 4]), 4)
        middle = layer.self_attn_bda.layer_norm(seen["x"] + seen["attention"])
        expected = layer.mlp_bda.layer_norm(middle + seen["mlp"])
    assert torch.equal(packed.hidden_states, expected.squeeze(1))


def test_an_unknown_place_of_the_norms_is_named() -> None:
    with pytest.raises(ConfigError, match="norm_placement sandwich: not one of"):
        BioBertConfig(norm_placement="sandwich")
