# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible low-rank adapters of ESM-2, which the ``peft`` package opens."""

import os
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from bionemo.core.errors import ConfigError
from bionemo.esm2.finetuning.peft_adapter import read_adapter
from bionemo.esm2.model.model import ESM2Config
from bionemo.llm.model.lora import LORA_TARGETS, add_lora


__all__ = ["ESM2LoRA"]


class ESM2LoRA:
    """Puts adapters on the encoder of a model: ``model = ESM2LoRA(dim=8)(model)``.

    Query, key and value of the fused projection have an adapter each.

    Args:
        peft_ckpt_path: Folder of ``adapter_config.json`` to start from, or None.
        freeze_modules: Accepted (BioNeMo 2 compatible): "encoder" and "embedding" are frozen, nothing else.
        target_modules: Matrices of a layer that get adapters.
        dim: Inner dimension.
        alpha: Scale, divided by the inner dimension.
        dropout: Accepted as 0.

    Raises:
        ConfigError: A dropout or other frozen modules are asked for.
    """

    def __init__(
        self,
        peft_ckpt_path: str | os.PathLike[str] | None = None,
        freeze_modules: Sequence[str] = ("encoder", "embedding"),
        target_modules: Sequence[str] = LORA_TARGETS,
        dim: int = 32,
        alpha: float = 32.0,
        dropout: float = 0.0,
    ) -> None:
        if dropout:
            raise ConfigError(
                f"ESM2LoRA: dropout {dropout}: adapters are part of the weights here; only 0 is possible."
            )
        if set(freeze_modules) != {"encoder", "embedding"}:
            raise ConfigError(f"ESM2LoRA: freeze_modules {list(freeze_modules)}: encoder and embedding are frozen.")
        self.peft_ckpt_path = None if peft_ckpt_path is None else Path(peft_ckpt_path)
        self.target_modules, self.dim, self.alpha = tuple(target_modules), dim, alpha

    def __call__(self, model: nn.Module) -> nn.Module:
        """Put the adapters on a model in place: an `ESM2WithHead`, whose head stays trainable, or an encoder.

        Raises:
            ConfigError: It is no ESM-2.
        """
        encoder = model.model if isinstance(getattr(model, "model", None), nn.Module) else model
        config = getattr(encoder, "bert_config", None)
        if not isinstance(config, ESM2Config):
            raise ConfigError(f"ESM2LoRA got a {type(model).__name__}, expected an ESM-2.")
        assert isinstance(encoder, nn.Module)
        add_lora(
            encoder,
            rank=self.dim,
            alpha=self.alpha,
            targets=self.target_modules,
            separate_qkv_heads=config.num_attention_heads,
        )
        if self.peft_ckpt_path is not None:
            read_adapter(self.peft_ckpt_path, model)
        return model
