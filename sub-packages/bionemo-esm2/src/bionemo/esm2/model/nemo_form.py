# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""ESM-2 in folders of NeMo 2, as BioNeMo Framework 2 trained and converted it.

Such a folder holds neither contact head nor rotary frequencies: the first stays untrained, the second are computed.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError
from bionemo.esm2.model.model import ESM2Config
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors
from bionemo.llm.checkpoints.nemo2.context import NemoContext
from bionemo.llm.checkpoints.nemo2.folder import NemoFolder
from bionemo.llm.checkpoints.nemo2.form import SETTINGS, Nemo2Form
from bionemo.llm.model.rotary import RotaryEmbedding


CONTACT_HEAD = "contact_head."
INV_FREQ = "rotary_pos_emb.inv_freq"
LEARNED_POSITIONS = "embedding.position_embeddings.weight"


class ESM2NemoForm(Nemo2Form[ESM2Config]):
    """ESM-2 in a NeMo 2 folder or archive."""

    family, config_class = "esm2", "ESM2Config"
    settings = (*SETTINGS, "rotary_base", "token_dropout")

    def not_held(self, state: Mapping[str, Tensor], config: ESM2Config) -> dict[str, str]:
        """Return contact head and rotary frequencies, which NeMo 2 does not store."""
        computed = RotaryEmbedding(config.head_dim, config.rotary_base).inv_freq
        contact_head = [name for name in state if name.startswith(CONTACT_HEAD)]
        trained = any(bool(state[name].any()) for name in contact_head)
        rounded = not torch.equal(state[INV_FREQ], computed)
        return {
            **dict.fromkeys(contact_head, "its contact head" if trained else ""),
            INV_FREQ: "its own rotary frequencies (NeMo 2 computes them)" if rounded else "",
        }

    def config_from_context(self, context: NemoContext, tensors: LazyTensors, folder: NemoFolder) -> ESM2Config:
        """Translate the settings.

        Raises:
            CheckpointError: The model has learned positions, or a size is missing or impossible.
        """
        if LEARNED_POSITIONS in tensors:
            raise CheckpointError(
                f"{folder.root}: a {context.model_class} with learned positions, which is no ESM-2 (perhaps a "
                "Geneformer)."
            )
        read = context.settings
        hidden_size = read.size("hidden_size")
        return ESM2Config(
            num_layers=read.size("num_layers"),
            hidden_size=hidden_size,
            num_attention_heads=read.size("num_attention_heads"),
            ffn_hidden_size=read.size("ffn_hidden_size", 4 * hidden_size),
            layernorm_epsilon=read.number("layernorm_epsilon", 1e-5),
            init_method_std=read.number("init_method_std", 0.02),
            rotary_base=read.number("rotary_base", 10_000.0),
            hidden_dropout=read.number("hidden_dropout", 0.0),
            attention_dropout=read.number("attention_dropout", 0.0),
            token_dropout=read.flag("token_dropout", True),
        )

    def state_from_megatron(self, tensors: LazyTensors, config: ESM2Config) -> LazyTensors:
        """Check names and shapes, and add what such a file does not hold."""
        from bionemo.esm2.model.hf_layout import ESM2Layout

        return ESM2Layout().state_from_megatron(tensors, config)
