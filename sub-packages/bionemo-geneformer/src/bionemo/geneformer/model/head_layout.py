# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuned models in Hugging Face's files: ``BertForSequenceClassification``, ``BertForTokenClassification``, ....

A head that pools the mean of the genes has no counterpart there: its dense layer has a name of its own, so that
transformers says that it is missing instead of predicting something else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bionemo.core.errors import CheckpointError, ConfigError
from bionemo.geneformer.model.config import GeneformerConfig
from bionemo.geneformer.model.heads import GeneformerWithHead, HeadConfig
from bionemo.geneformer.model.hf_layout import ARCHITECTURES, GeneformerLayout
from bionemo.geneformer.model.published_dictionaries import find_dictionaries
from bionemo.llm.checkpoints.forms import load_any_form
from bionemo.llm.checkpoints.hf_directory import load_state, save_checkpoint
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors
from bionemo.llm.checkpoints.model_source import ModelSource, locate_model
from bionemo.llm.model.biobert.model import build_model


CLASSIFIER = "classifier"
POOLERS = {"first": "bert.pooler.dense", "mean": "gene_mean_pooler.dense"}
HEAD_KEY = "geneformer_head"


@dataclass(frozen=True)
class FinetunedConfig:
    """Encoder and head of one fine-tuned model."""

    encoder: GeneformerConfig
    head: HeadConfig


class FinetunedLayout:
    """Names of a fine-tuned Geneformer; see ``bionemo.llm.checkpoints.hf_directory.HuggingFaceLayout``.

    Args:
        encoder_layout: Of the encoder, with the dictionaries to save.
    """

    def __init__(self, encoder_layout: GeneformerLayout | None = None) -> None:
        self.encoder_layout = encoder_layout or GeneformerLayout()

    def tensors_to_hf(self, state: Mapping[str, Tensor], config: FinetunedConfig) -> dict[str, Tensor]:
        """Rename a state dict."""
        encoder = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
        tensors = self.encoder_layout.tensors_to_hf(encoder, config.encoder)
        for own, theirs in head_names(config.head).items():
            tensors[theirs] = state[own]
        return tensors

    def tensors_from_hf(self, tensors: Mapping[str, Tensor], config: FinetunedConfig) -> LazyTensors:
        """Rename a file's tensors to our state dict.

        Raises:
            CheckpointError: A tensor is missing, has an unknown name or another shape than the config says.
        """
        state: dict[str, Tensor] = {}
        for own, theirs in head_names(config.head).items():
            if theirs not in tensors:
                raise CheckpointError(f"the weights lack {theirs}, which the head asks for.")
            state[own] = tensors[theirs].float()
        encoder = self.encoder_layout.tensors_from_hf(tensors, config.encoder).entries
        return LazyTensors({f"model.{name}": tensor for name, tensor in encoder.items()}) | state

    def config_to_hf(self, config: FinetunedConfig) -> dict[str, Any]:
        """Return config.json: the encoder's values, the labels as transformers has them, and our head."""
        head = config.head
        kind = "SequenceClassification" if head.is_per_cell else "TokenClassification"
        prefix = ARCHITECTURES[config.encoder.norm_placement].removesuffix("MaskedLM")
        classes = head.classes or ("LABEL_0",)
        values = {
            **self.encoder_layout.config_to_hf(config.encoder),
            "architectures": [prefix + kind],
            "id2label": {str(idx): name for idx, name in enumerate(classes)},
            "label2id": {name: idx for idx, name in enumerate(classes)},
            "classifier_dropout": head.dropout,
            HEAD_KEY: {
                "task": head.task,
                "classes": list(head.classes),
                "pooling": head.pooling,
                "label_column": head.label_column,
                "dropout": head.dropout,
            },
        }
        if head.is_per_cell:
            values["problem_type"] = "regression" if head.is_regression else "single_label_classification"
        return values

    def config_from_hf(self, values: Mapping[str, Any], source: str) -> FinetunedConfig:
        """Read config.json.

        Raises:
            CheckpointError: It describes no fine-tuned Geneformer.
        """
        encoder = self.encoder_layout.config_from_hf(values, source)
        stored = values.get(HEAD_KEY)
        if stored is None:
            stored = head_of_transformers(values, source)
        try:
            return FinetunedConfig(encoder, HeadConfig(**{**stored, "classes": tuple(stored["classes"])}))
        except (ConfigError, KeyError, TypeError) as error:
            raise CheckpointError(f"{source}: config.json describes no head of Geneformer: {error}") from error

    def save_tokenizer(self, directory: Path) -> None:
        """Write the dictionaries, where there are some."""
        self.encoder_layout.save_tokenizer(directory)


def head_of_transformers(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Describe the head of a model that transformers trained.

    Raises:
        CheckpointError: It has none.
    """
    architecture = (values.get("architectures") or [""])[0]
    labels = values.get("id2label") or {}
    classes = [name for _, name in sorted(labels.items(), key=lambda item: int(item[0]))]
    dropout = values.get("classifier_dropout")
    shared = {
        "classes": classes,
        "dropout": values.get("hidden_dropout_prob", 0.0) if dropout is None else dropout,
    }
    if architecture.endswith("TokenClassification"):
        return {"task": "gene-classification", **shared}
    if architecture.endswith("SequenceClassification"):
        if values.get("problem_type") == "regression" or len(classes) == 1:
            return {**shared, "task": "regression", "classes": []}
        return {"task": "cell-classification", **shared}
    raise CheckpointError(f"{source}: config.json says {architecture or 'nothing'}: no fine-tuned model.")


def head_names(head: HeadConfig) -> dict[str, str]:
    """Our names of the head's parameters, and Hugging Face's."""
    layers = {"head.classifier": CLASSIFIER}
    if head.is_per_cell:
        layers["head.pooler"] = POOLERS[head.pooling]
    return {f"{own}.{kind}": f"{theirs}.{kind}" for own, theirs in layers.items() for kind in ("weight", "bias")}


def save_finetuned(
    module: GeneformerWithHead,
    directory: str | Path,
    *,
    write_more: Callable[[Path], None] | None = None,
    overwrite: bool = False,
) -> None:
    """Save a fine-tuned model; see :func:`load_finetuned`.

    Args:
        module: The model with its head.
        directory: Where to; appears whole or not at all.
        write_more: Writes further files, such as a model card, into the unfinished folder.
        overwrite: Replace an existing folder.
    """
    config = FinetunedConfig(module.config, module.head_config)
    layout = FinetunedLayout(GeneformerLayout(module.dictionaries))
    save_checkpoint(directory, config, module.state_dict(), layout, write_more=write_more, overwrite=overwrite)


def load_finetuned(source: ModelSource) -> GeneformerWithHead:
    """Load a fine-tuned model, ours or one that transformers trained.

    Args:
        source: Folder in Hugging Face layout, or a name on the Hugging Face Hub.

    Returns:
        The model in float32 on the CPU, in evaluation mode, with the dictionaries of its folder or repository.

    Raises:
        CheckpointError: The folder is missing, damaged or holds another kind of model.
    """
    located = locate_model(source)
    loaded = load_any_form(located.path, FinetunedLayout())
    encoder = build_model(loaded.config.encoder, loaded.config.encoder.vocabulary, seed=0)
    module = GeneformerWithHead(encoder, loaded.config.head)
    load_state(module, loaded.state, located.path)
    module.dictionaries = find_dictionaries(located, loaded.config.encoder)
    return module.eval()
