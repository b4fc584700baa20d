# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Module specs: which classes fill the slots of Megatron-core's transformer layer.

Every option builds layers whose parameters have Megatron's names. The names that mention Transformer Engine are kept
for users' scripts and resolve to the same local modules, with the same state-dict content.
"""

from enum import StrEnum
from typing import Any

from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.identity_op import IdentityOp
from megatron.core.transformer.mlp import MLP, MLPSubmodules
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_layer import TransformerLayer, TransformerLayerSubmodules

from bionemo.llm.model.attention import PackedCoreAttention
from bionemo.llm.model.layers import ESM2QueryScaling
from bionemo.llm.model.plain_layers import PlainLayerNorm, PlainLinear
from bionemo.llm.model.residual import PostNormResidual, residual_sum


__all__ = ["BiobertSpecOption", "get_biobert_spec"]


class BiobertSpecOption(StrEnum):
    """Names of the layer specs; each value equals its name, so that a command line can take it."""

    bert_layer_local_spec = "bert_layer_local_spec"
    bert_layer_local_spec_with_qk_ln = "bert_layer_local_spec_with_qk_ln"
    bert_layer_with_transformer_engine_spec = "bert_layer_with_transformer_engine_spec"
    bert_layer_with_transformer_engine_and_qk_ln_spec = "bert_layer_with_transformer_engine_and_qk_ln_spec"
    esm2_bert_layer_local_spec = "esm2_bert_layer_local_spec"
    esm2_bert_layer_with_transformer_engine_spec = "esm2_bert_layer_with_transformer_engine_spec"


def get_biobert_spec(
    biobert_spec_option: BiobertSpecOption | str,
    qk_layernorm: bool = False,
    core_attention: type | ModuleSpec | None = None,
    *,
    post_norm_config: Any = None,
    tensor_parallel: bool = False,
) -> ModuleSpec:
    """Build the spec of one transformer layer.

    Args:
        biobert_spec_option: Which layer; the ESM-2 ones scale the query before its rotary positions.
        qk_layernorm: Normalize queries and keys per head, in the options that do not say it themselves.
        core_attention: Module of the core attention; default is the packed torch-native one.
        post_norm_config: Megatron's config, for a layer that normalizes its two residual sums instead of what enters
            attention and feed-forward; None for the latter (pre-LN).
        tensor_parallel: Build layers that tensor-parallel ranks share, with the same state-dict keys.

    Returns:
        The spec for ``megatron.core.transformer.transformer_block.TransformerBlock``.

    Raises:
        NotImplementedError: The option is not one of :class:`BiobertSpecOption`.
    """
    try:
        option = BiobertSpecOption(biobert_spec_option)
    except ValueError:
        raise NotImplementedError(
            f"Spec option {biobert_spec_option} not implemented, choose from {[o.value for o in BiobertSpecOption]}."
        ) from None
    query_norm: Any = IdentityOp
    key_norm: Any = IdentityOp
    if option.value.startswith("esm2"):
        query_norm = ESM2QueryScaling
    elif qk_layernorm or option.value.endswith(("with_qk_ln", "and_qk_ln_spec")):
        query_norm = key_norm = PlainLayerNorm
    column_linear: Any = PlainLinear
    row_linear: Any = PlainLinear
    if tensor_parallel:
        from bionemo.llm.model.parallel_layers import ColumnLinear, RowLinear

        column_linear, row_linear = ColumnLinear, RowLinear
    input_norm: Any = PlainLayerNorm
    residual: Any = residual_sum
    if post_norm_config is not None:
        input_norm = IdentityOp
        residual = ModuleSpec(module=PostNormResidual, params={"config": post_norm_config})
    return ModuleSpec(
        module=TransformerLayer,
        submodules=TransformerLayerSubmodules(
            input_layernorm=input_norm,
            self_attention=ModuleSpec(
                module=SelfAttention,
                params={"attn_mask_type": AttnMaskType.padding},
                submodules=SelfAttentionSubmodules(
                    linear_qkv=column_linear,
                    core_attention=core_attention or PackedCoreAttention,
                    linear_proj=row_linear,
                    q_layernorm=query_norm,
                    k_layernorm=key_norm,
                ),
            ),
            self_attn_bda=residual,
            pre_mlp_layernorm=input_norm,
            mlp=ModuleSpec(module=MLP, submodules=MLPSubmodules(linear_fc1=column_linear, linear_fc2=row_linear)),
            mlp_bda=residual,
        ),
    )
