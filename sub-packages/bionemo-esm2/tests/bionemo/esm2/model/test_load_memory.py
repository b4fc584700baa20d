# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Memory while a sharded checkpoint is loaded: the weights once and little else, mapped pages of files included."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bionemo.esm2.api import esm2_config
from bionemo.esm2.model.hf_layout import ESM2Layout
from bionemo.esm2.model.nemo_form import ESM2NemoForm
from bionemo.esm2.model.sizes import ESM2_SIZES
from bionemo.llm.checkpoints.hf_tensors import QKV
from bionemo.llm.checkpoints.lazy_tensors import LazyTensor, LazyTensors
from bionemo.llm.checkpoints.nemo2.writer import write_context, write_weights


LOAD = """
import re, sys
from pathlib import Path
from bionemo.esm2.api import build_esm2, esm2_config, load_esm2

def status(field):
    return int(re.search(field + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

build_esm2(esm2_config("8M", num_layers=1))  # whatever torch and Megatron need for themselves
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
before = status("VmRSS")
model = load_esm2(sys.argv[1])
kept = sum(tensor.nbytes for tensor in model.state_dict().values())
print((status("VmHWM") - before) / kept, next(model.parameters()).ravel()[0].item())
"""


def write_sharded(directory: Path, size: str, dtype: torch.dtype, tensors_in_shard: int) -> None:
    """Write a checkpoint of a published shape, tensor by tensor, without a model in memory."""
    config = esm2_config(size)
    layers, hidden, ffn = config.num_layers, config.hidden_size, config.ffn_hidden_size
    (directory / "config.json").write_text(json.dumps(ESM2Layout().config_to_hf(config)))
    shapes = {
        "esm.embeddings.word_embeddings.weight": (33, hidden), "lm_head.dense.weight": (hidden, hidden),
        "lm_head.bias": (33,), "esm.contact_head.regression.weight": (1, layers * config.num_attention_heads),
        "esm.contact_head.regression.bias": (1,),
    }  # fmt: skip
    for name in ("esm.encoder.emb_layer_norm_after", "lm_head.layer_norm"):
        shapes |= {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}
    shapes["lm_head.dense.bias"] = (hidden,)
    for layer in range(layers):
        prefix = f"esm.encoder.layer.{layer}"
        matrices = {f"attention.self.{part}": (hidden, hidden) for part in QKV}
        matrices |= {"attention.output.dense": (hidden, hidden), "intermediate.dense": (ffn, hidden)}
        matrices |= {"output.dense": (hidden, ffn), "attention.LayerNorm": (hidden,), "LayerNorm": (hidden,)}
        for name, shape in matrices.items():
            shapes |= {f"{prefix}.{name}.weight": shape, f"{prefix}.{name}.bias": shape[:1]}
    weight_map = {name: f"model-{idx // tensors_in_shard:05d}.safetensors" for idx, name in enumerate(shapes)}
    for shard in dict.fromkeys(weight_map.values()):
        names = [name for name in shapes if weight_map[name] == shard]
        save_file({name: torch.full(shapes[name], 0.5, dtype=dtype) for name in names}, directory / shard)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def write_nemo2(directory: Path, size: str, dtype: torch.dtype) -> None:
    """Write a NeMo 2 folder of a published shape, tensor by tensor."""
    config = esm2_config(size)
    layers, hidden, ffn = config.num_layers, config.hidden_size, config.ffn_hidden_size
    shapes = {"embedding.word_embeddings.weight": (128, hidden), "output_layer.bias": (128,)}
    shapes |= {"lm_head.dense.weight": (hidden, hidden), "lm_head.dense.bias": (hidden,)}
    for name in ("encoder.final_layernorm", "lm_head.layer_norm"):
        shapes |= {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}
    matrices = {"self_attention.linear_qkv": (3 * hidden, hidden), "self_attention.linear_proj": (hidden, hidden)}
    matrices |= {"mlp.linear_fc1": (ffn, hidden), "mlp.linear_fc2": (hidden, ffn)}
    matrices |= {"input_layernorm": (hidden,), "pre_mlp_layernorm": (hidden,)}
    for layer in range(layers):
        for name, shape in matrices.items():
            shapes |= {f"encoder.layers.{layer}.{name}.{kind}": shape[:last] for kind, last in KINDS.items()}
    full = {name: LazyTensor(shape, partial(torch.full, shape, 0.5, dtype=dtype)) for name, shape in shapes.items()}
    write_weights(directory, LazyTensors(full), layers)
    settings = {name: getattr(config, name) for name in ESM2NemoForm.settings}
    write_context(directory, ESM2NemoForm().model_class, settings)


KINDS = {"weight": None, "bias": 1}


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("form", "size", "dtype"),
    [
        ("hf", "650M", torch.float32),
        ("hf", "3B", torch.bfloat16),
        ("nemo2", "650M", torch.float32),
        ("nemo2", "3B", torch.bfloat16),
    ],
)
def test_peak_is_at_most_115_percent_of_the_weights(form: str, size: str, dtype: torch.dtype, tmp_path: Path) -> None:
    if form == "hf":
        write_sharded(tmp_path, size, dtype, tensors_in_shard=100)
    else:
        write_nemo2(tmp_path, size, dtype)
    assert ESM2_SIZES[size].num_parameters > 6e8
    result = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path)], capture_output=True, text=True, check=True, timeout=1200
    )
    peak, value = map(float, result.stdout.split())
    print(f"{form} {size}: peak {peak:.3f} of the weights kept")
    assert value == 0.5
    assert peak <= 1.15
