# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuned ESM-2 in Hugging Face's files.

A "linear" head is that of ``EsmForSequenceClassification`` or ``EsmForTokenClassification``, which open the folder.
The other heads have no counterpart there: their parameters have names of their own, ``EsmModel`` opens the encoder.
``config.json`` holds everything that a prediction needs under ``bionemo_head``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bionemo.core.errors import CheckpointError, ConfigError
from bionemo.esm2.data.tokenizer import get_tokenizer
from bionemo.esm2.finetuning.head_config import HeadConfig, Target
from bionemo.esm2.finetuning.heads import ESM2WithHead
from bionemo.esm2.finetuning.peft_adapter import merged_state
from bionemo.esm2.model.hf_layout import ESM2Layout
from bionemo.esm2.model.model import ESM2Config, ESM2Model
from bionemo.llm.checkpoints.hf_directory import load_state, save_checkpoint
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors
from bionemo.llm.checkpoints.model_source import ModelSource, load_model
from bionemo.llm.model.biobert.model import build_model


HEAD_KEY = "bionemo_head"
OWN_PREFIXES = {"mlp": "sequence_head.", "cnn": "residue_head."}
"""Of the parameters of heads that transformers does not know."""


@dataclass(frozen=True)
class FinetunedConfig:
    """Encoder and head of one fine-tuned model.

    Attributes:
        encoder: Architecture.
        head: What is predicted.
        lora_scale: Of the low-rank adapters in the state dict, where there are some.
    """

    encoder: ESM2Config
    head: HeadConfig
    lora_scale: float = 1.0


class FinetunedLayout:
    """Names of a fine-tuned ESM-2; see ``bionemo.llm.checkpoints.hf_directory.HuggingFaceLayout``."""

    def __init__(self) -> None:
        self.encoder_layout = ESM2Layout(expects_token_head=False)

    def tensors_to_hf(self, state: Mapping[str, Tensor], config: FinetunedConfig) -> dict[str, Tensor]:
        """Rename a state dict; low-rank adapters become part of the weights."""
        merged = merged_state(state, config.encoder.num_attention_heads, config.lora_scale)
        encoder = {name.removeprefix("model."): value for name, value in merged.items() if name.startswith("model.")}
        tensors = self.encoder_layout.tensors_to_hf(encoder, config.encoder)
        for name, value in merged.items():
            if name.startswith("head."):
                tensors[head_name(name, config.head)] = value
        return tensors

    def tensors_from_hf(self, tensors: Mapping[str, Tensor], config: FinetunedConfig) -> LazyTensors:
        """Rename a file's tensors to our state dict.

        Raises:
            CheckpointError: A tensor is missing, has an unknown name or another shape than the config says.
        """
        prefix = head_name("head.", config.head)
        head = {name: tensor for name, tensor in LazyTensors.of(tensors).entries.items() if name.startswith(prefix)}
        if not head:
            raise CheckpointError(f"the weights lack the head ({prefix}*), which config.json describes.")
        rest = LazyTensors({n: t for n, t in LazyTensors.of(tensors).entries.items() if n not in head})
        encoder = self.encoder_layout.tensors_from_hf(rest, config.encoder).entries
        state = {f"model.{name}": tensor for name, tensor in encoder.items()}
        return LazyTensors(state | {own_name(name, config.head): tensor for name, tensor in head.items()})

    def config_to_hf(self, config: FinetunedConfig) -> dict[str, Any]:
        """Return config.json: the encoder's values, the labels as transformers has them, and our head."""
        head = config.head
        classes = [
            name if len(head.targets) == 1 else f"{target.column}: {name}"
            for target in head.targets
            for name in (target.classes or (target.column,))
        ]
        values = {
            **self.encoder_layout.config_to_hf(config.encoder),
            "architectures": [architecture_of(head)],
            "id2label": {str(idx): name for idx, name in enumerate(classes)},
            "label2id": {name: idx for idx, name in enumerate(classes)},
            "classifier_dropout": head.dropout,
            HEAD_KEY: head.to_dict(),
        }
        if head.level == "sequence" and len(head.targets) == 1:
            values["problem_type"] = {
                "regression": "regression",
                "classification": "single_label_classification",
                "multilabel": "multi_label_classification",
            }[head.targets[0].kind]
        return values

    def config_from_hf(self, values: Mapping[str, Any], source: str) -> FinetunedConfig:
        """Read config.json.

        Raises:
            CheckpointError: It describes no fine-tuned ESM-2.
        """
        encoder = self.encoder_layout.config_from_hf(values, source)
        stored = values.get(HEAD_KEY)
        try:
            head = head_of_transformers(values, source) if stored is None else HeadConfig.from_dict(stored)
        except ConfigError as error:
            raise CheckpointError(f"{source}: config.json describes no head: {error}") from error
        return FinetunedConfig(encoder, head)

    def save_tokenizer(self, directory: Path) -> None:
        """Write the tokenizer's files."""
        self.encoder_layout.save_tokenizer(directory)


def architecture_of(head: HeadConfig) -> str:
    """Name the class of transformers that opens a model with this head, or its encoder."""
    if head.kind != "linear":
        return "EsmModel"
    return "EsmForSequenceClassification" if head.level == "sequence" else "EsmForTokenClassification"


def head_of_transformers(values: Mapping[str, Any], source: str) -> HeadConfig:
    """Describe the head of a model that transformers trained.

    Raises:
        CheckpointError: It has none.
    """
    architecture = (values.get("architectures") or [""])[0]
    labels = values.get("id2label") or {}
    classes = tuple(str(name) for _, name in sorted(labels.items(), key=lambda item: int(item[0])))
    shared: dict[str, Any] = {"kind": "linear", "dropout": float(values.get("classifier_dropout") or 0.0)}
    if architecture == "EsmForTokenClassification":
        target = Target(column="labels", kind="classification", classes=classes)
        return HeadConfig(level="residue", targets=(target,), **shared)
    if architecture == "EsmForSequenceClassification":
        kind = values.get("problem_type")
        if kind == "regression" or len(classes) == 1:
            target = Target(column="labels", kind="regression")
        elif kind == "multi_label_classification":
            target = Target(column="labels", kind="multilabel", classes=classes)
        else:
            target = Target(column="labels", kind="classification", classes=classes)
        return HeadConfig(level="sequence", targets=(target,), **shared)
    raise CheckpointError(
        f"{source}: has no fine-tuned head (config.json says {architecture or 'nothing'}). Give a folder that "
        "finetune_esm2 wrote; embeddings of any ESM-2 are the matter of infer_esm2."
    )


def head_name(own: str, head: HeadConfig) -> str:
    """Return a head parameter's name in the file."""
    if head.kind != "linear":
        return OWN_PREFIXES[head.kind] + own.removeprefix("head.")
    if head.level == "sequence":
        return "classifier." + own.removeprefix("head.")
    return "classifier." + own.removeprefix("head.").removeprefix("linear.")


def own_name(theirs: str, head: HeadConfig) -> str:
    """Return our name of a head's parameter in the file."""
    rest = theirs.removeprefix(head_name("head.", head))
    return f"head.linear.{rest}" if head.kind == "linear" and head.level == "residue" else f"head.{rest}"


def build_with_head(encoder: ESM2Config, head: HeadConfig, *, seed: int) -> ESM2WithHead:
    """Build a model with random weights, a function of the seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(encoder, get_tokenizer())
        assert isinstance(model, ESM2Model)
        return ESM2WithHead(model, head)


def save_finetuned(module: ESM2WithHead, directory: str | Path, *, overwrite: bool = False) -> None:
    """Save a fine-tuned model; see :func:`load_finetuned`."""
    config = FinetunedConfig(module.config, module.head_config)
    save_checkpoint(directory, config, module.state_dict(), FinetunedLayout(), overwrite=overwrite)


def load_finetuned(source: ModelSource) -> ESM2WithHead:
    """Load a fine-tuned model, ours or one that transformers trained.

    Args:
        source: Folder of ``finetune_esm2``, folder in Hugging Face layout, or a name on the Hugging Face Hub.

    Returns:
        The model in float32 on the CPU, in evaluation mode.

    Raises:
        CheckpointError: The folder is missing, damaged, or holds a model without a head.

    Example:
        >>> load_finetuned("results/esm2-finetune").head_config.level  # doctest: +SKIP
        'sequence'
    """
    loaded = load_model(source, FinetunedLayout())
    module = build_with_head(loaded.config.encoder, loaded.config.head, seed=0)
    load_state(module, loaded.state, source if isinstance(source, str) else str(source))
    return module.eval()
