#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Write the page "Models" from the catalogue, the published sizes and the memory that follows from them.

docs/tests/test_models_page.py fails where the page in the repository is another one.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from bionemo.core.data.resource import Resource, get_all_resources
from bionemo.esm2.model.model import esm2_config
from bionemo.esm2.model.sizes import ESM2_SIZES
from bionemo.geneformer.model.config import geneformer_config
from bionemo.geneformer.model.sizes import GENEFORMER_SIZES
from bionemo.geneformer.tokenizer.variants import VARIANTS
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.memory import EncoderShape, inference_memory
from bionemo.llm.training.ranks.memory import GIB, StepShape, plan_memory


PAGE = Path(__file__).resolve().parents[1] / "docs" / "user-guide" / "models.md"
CPU_TOKENS, GPU_TOKENS = 4_096, 32_768
"""Token budgets of a packed batch by default."""
ESM2_VOCABULARY = 33
BASE_OF_CONTINUED = {"Geneformer-V2-104M_CLcancer": "V2-104M"}
"""Models that are another one, trained further."""

TEXT = """\
# Models

<!-- Written by docs/scripts/write_models_page.py. -->

Every command takes a model by its name on the Hugging Face Hub, `owner/name`, with `@revision` and `:subfolder` where
needed. The first use downloads the needed files into huggingface_hub's cache (`HF_HOME`); with `HF_HUB_OFFLINE=1` the
cache alone is used, and `HF_TOKEN` opens private models. Nothing in a file is executed. A folder, a file or a run of
yours stands where a name can stand: see [forms](#forms-that-open).

`download_bionemo_data --list-resources --details` prints these models with size, license and the command that opens
each.

## ESM-2

```python
from bionemo.esm2 import ESM2

model = ESM2.from_pretrained("facebook/esm2_t6_8M_UR50D")
print(model.embed(["MKTAYIAK", "GSH"]).shape)  # (2, 320)
```

```bash
infer_esm2 --checkpoint facebook/esm2_t6_8M_UR50D --data-path proteins.fasta --results-path embeddings --embedding mean
```

{esm2}

License of the weights: {esm2_license}. Context: trained on 1,024 tokens; longer proteins are
read whole (rotary positions have no end), how well beyond 1,024 is not known from the original training.

## Geneformer

```python
from bionemo.geneformer import Geneformer

model = Geneformer.from_pretrained("ctheodoris/Geneformer:Geneformer-V2-104M")  # with its dictionaries
model.embed(adata, key_added="X_geneformer")
```

```bash
infer_geneformer --checkpoint ctheodoris/Geneformer:Geneformer-V2-104M --data-path cells.h5ad --results-path embeddings
```

{geneformer}

License of the weights: {geneformer_license}. Cells with more genes than the context are cut after their highest ranks.

## Memory

Computed from the shapes by `bionemo.llm.model.memory` and, for training, by what `--strategy auto` chooses by
(`bionemo.llm.training.ranks.memory`), in GB (10⁹ bytes), without torch itself (0.3 to 0.5 GB):

- **embed, CPU**: float32, packed batches of {cpu_tokens:,} tokens, the default.
- **embed, GPU**: float32 weights, bfloat16 activations, batches of {gpu_tokens:,} tokens, the default.
- **fine-tune, GPU**: all parameters with AdamW (18 bytes a parameter), mixed precision, {gpu_tokens:,} tokens, no
  recomputation. Activations shrink with `--tokens-per-batch` or `--micro-batch-size`, and to one layer's with
  `--recompute full`; a frozen encoder needs little more than embedding.

Measured for comparison: training 650M with batches of 32,432 tokens and layers not compiled peaks at 58.2 GiB on an
H200, the formula says {predicted:.1f} GiB. Pretraining compiles layers in long runs and then needs 35 GiB: see
[several GPUs and nodes](multi-gpu.md#which-strategy).

## Models of BioNeMo Framework 2

On NVIDIA's NGC; `download_bionemo_data TAG` downloads one and prints its folder, which opens like a name:

{ngc}

## Forms that open

| form | from |
|---|---|
| `config.json`, `model.safetensors` or `pytorch_model.bin`, also shards | transformers; of a classifier the encoder |
| `esm2_*.pt`, with `*-contact-regression.pt` beside it | fair-esm |
| folder of a run, or one of its checkpoints | `train_esm2`, `train_geneformer`, both training engines |
| folder of NeMo 2, with `context/` and `weights/`, or its `.tar.gz` | BioNeMo Framework 2 |

`convert_esm2` and `convert_geneformer` write any of them in another form (`--to`).
"""


def models_page() -> str:
    """Return the page."""
    catalogue = get_all_resources()
    esm2 = {tag.partition("/")[2]: each for tag, each in catalogue.items() if tag.startswith("esm2/") and each.hub}
    geneformer = {
        tag.partition("/")[2]: each for tag, each in catalogue.items() if tag.startswith("geneformer/") and each.hub
    }
    return TEXT.format(
        esm2=hub_table(
            "ESM2.from_pretrained",
            [
                (
                    esm2[f"esm2_t{size.num_layers}_{name}_UR50D"],
                    size,
                    None,
                    training_bytes(esm2_config(name), ESM2_VOCABULARY),
                )
                for name, size in ESM2_SIZES.items()
            ],
        ),
        esm2_license=license_of(esm2.values()),
        geneformer=hub_table(
            "Geneformer.from_pretrained",
            [
                (each, *geneformer_size(folder))
                for folder, each in sorted(geneformer.items(), key=lambda item: len(item[0]))
            ],
        ),
        geneformer_license=license_of(geneformer.values()),
        ngc=ngc_table([each for each in catalogue.values() if each.ngc_registry == "model"]),
        cpu_tokens=CPU_TOKENS,
        gpu_tokens=GPU_TOKENS,
        predicted=training_bytes(esm2_config("650M"), ESM2_VOCABULARY, num_tokens=32_432) / GIB,
    )


def geneformer_size(folder: str) -> tuple[EncoderShape, int, float]:
    """Return the shape of a model of the Geneformer repository, its context in tokens, and its memory in training."""
    name = BASE_OF_CONTINUED.get(folder, folder.removeprefix("Geneformer-"))
    size, config = GENEFORMER_SIZES[name], geneformer_config(name)
    return size, VARIANTS[size.variant].max_length, training_bytes(config, config.vocab_size)


def training_bytes(config: BioBertConfig, vocab_size: int, num_tokens: int = GPU_TOKENS) -> float:
    """Predict the peak of fine-tuning on one GPU; layers are not compiled."""
    return plan_memory("single", config, vocab_size, StepShape(tokens=num_tokens, compiled=False)).total


def hub_table(loader: str, rows: list[tuple[Resource, EncoderShape, int | None, float]]) -> str:
    """Build the table of one family: the line that loads a model, shape, file, memory in GB."""
    context = any(length is not None for _, _, length, _ in rows)
    lines = [
        f"| load | parameters | layers, hidden size |{' context |' * context} weights "
        "| embed, CPU | embed, GPU | fine-tune, GPU |",
        "|---|---|---|" + "---|" * (4 + context),
    ]
    for resource, shape, length, training in rows:
        needs = (
            inference_memory(shape, CPU_TOKENS).total,
            inference_memory(shape, GPU_TOKENS, bytes_per_value=2).total,
            training,
        )
        cells = [
            f"`{loader}(\"{resource.hub}\")`",
            f"{shape.num_parameters:,}", f"{shape.num_layers}, {shape.hidden_size}",
            *([f"{length:,}"] if length is not None else []),
            resource.size, *map(gigabytes, needs),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def ngc_table(resources: list[Resource]) -> str:
    """Build the table of NVIDIA's files: tag, what it is, what opens it."""
    lines = ["| tag | what | opened by |", "|---|---|---|"]
    for each in resources:
        opens = str(each.opens)
        text = opens if opens.startswith("download only") else f"`{opens}`"
        lines.append(f"| `{each.tag}` | {each.description} | {text} |")
    return "\n".join(lines)


def gigabytes(num_bytes: float) -> str:
    """Print bytes in GB with two significant digits.

    >>> gigabytes(123_456_789), gigabytes(63_800_000_000)
    ('0.12', '64')
    """
    value = num_bytes / 1e9
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def license_of(resources: Iterable[Resource]) -> str:
    """Return the license that all models of a family have."""
    (found,) = {str(each.license) for each in resources}
    return found


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text(models_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
