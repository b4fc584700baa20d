# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Model cards: the ``README.md`` beside a checkpoint, Markdown with the YAML head that the Hugging Face Hub reads.

It names files of the training data without their folders, because it is meant to be published. It belongs to its
reader, who may change it: checksums leave it out.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bionemo.core.files import write_text
from bionemo.llm.checkpoints.hf_directory import CONFIG_FILE, MODEL_CARD_FILE
from bionemo.llm.checkpoints.json_files import read_json


UNKNOWN_LICENSE = "unknown"
"""What the Hub calls a license that nobody has named."""
ARCHITECTURE_ROWS = {
    "architectures": "class in transformers",
    "num_hidden_layers": "layers",
    "n_layer": "layers",
    "hidden_size": "hidden size",
    "n_embd": "hidden size",
    "num_attention_heads": "attention heads",
    "n_head": "attention heads",
    "intermediate_size": "feed-forward size",
    "vocab_size": "vocabulary",
    "max_position_embeddings": "positions",
    "n_positions": "positions",
    "hidden_act": "activation function",
}
"""Keys of config.json that a card prints, and what it calls them."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a run knows about its model before it is trained.

    Attributes:
        title: Headline.
        summary: One sentence.
        opening: Line of Python or shell that opens the checkpoint; ``{path}`` stands for its folder.
        data: Rows of the table about training data.
        settings: Rows of the table about training.
        tags: Of the Hub, beside "bionemo".
        pipeline_tag: Of the Hub, for example "fill-mask".
        base_model: Name on the Hub of the model that training started from.
        license: Identifier of the Hub, for example "mit".

    >>> card = ModelCard(title="Small ESM-2", summary="Trained on insulins.", opening="load_esm2('{path}')")
    >>> card.text({"num_hidden_layers": 6}, {"val_loss": 2.5}, "step-00000100").splitlines()[0:3]
    ['---', 'license: "unknown"', 'library_name: "transformers"']
    """

    title: str
    summary: str
    opening: str
    data: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    pipeline_tag: str | None = None
    base_model: str | None = None
    license: str = UNKNOWN_LICENSE

    def text(self, config: Mapping[str, Any], metrics: Mapping[str, Any], path: str) -> str:
        """Return the card.

        Args:
            config: Content of the checkpoint's config.json.
            metrics: Rows of the table about what the model reaches.
            path: Folder that the opening line names.
        """
        head = {
            "license": self.license,
            "library_name": "transformers",
            "pipeline_tag": self.pipeline_tag,
            "base_model": self.base_model,
            "tags": ["bionemo", *self.tags],
        }
        architecture = {label: _plain(config[key]) for key, label in ARCHITECTURE_ROWS.items() if key in config}
        from_base = (
            f" Training started from `{self.base_model}`, whose license applies too." if self.base_model else ""
        )
        parts = [
            "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in head.items() if value), "---"]),
            f"# {self.title}",
            self.summary,
            "```\n" + self.opening.format(path=path) + "\n```",
            _section("Architecture", architecture),
            _section("Training data", self.data),
            _section("Training", self.settings),
            _section("Metrics", metrics),
            f"## License\n\n`{self.license}`: before you publish this model, write its license here and into the head "
            f"of this file; the license of the training data may bind you.{from_base}",
        ]
        return "\n\n".join(part for part in parts if part) + "\n"


def write_model_card(directory: Path, card: ModelCard, metrics: Mapping[str, Any], *, name: str | None = None) -> None:
    """Write the card into a checkpoint's folder, which has its config.json already.

    Args:
        directory: The unfinished or finished folder.
        card: What the run knows.
        metrics: What the model reaches, by its names.
        name: How the opening line names the folder; default: the folder's own name.
    """
    config = read_json(directory / CONFIG_FILE)
    write_text(directory / MODEL_CARD_FILE, card.text(config, metrics, name or directory.name))


def _section(title: str, rows: Mapping[str, Any]) -> str:
    if not rows:
        return ""
    lines = [f"| {label} | {_cell(value)} |" for label, value in rows.items() if value is not None]
    return "\n".join([f"## {title}", "", "| | |", "|---|---|", *lines])


def _cell(value: Any) -> str:
    text = f"{value:,}" if type(value) is int else f"{value:.6g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", "\\|").split())


def _plain(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
