# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Memory while a sharded checkpoint is loaded: the weights once and little else, mapped pages of files included."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bionemo.esm2.api import esm2_config
from bionemo.esm2.model.hf_layout import ESM2Layout
from bionemo.esm2.model.sizes import ESM2_SIZES
from bionemo.llm.checkpoints.hf_tensors import QKV


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


@pytest.mark.nightly
@pytest.mark.parametrize(("size", "dtype"), [("650M", torch.float32), ("3B", torch.bfloat16)])
def test_peak_is_at_most_115_percent_of_the_weights(size: str, dtype: torch.dtype, tmp_path: Path) -> None:
    write_sharded(tmp_path, size, dtype, tensors_in_shard=100)
    assert ESM2_SIZES[size].num_parameters > 6e8
    result = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path)], capture_output=True, text=True, check=True, timeout=1200
    )
    peak, value = map(float, result.stdout.split())
    print(f"{size}: peak {peak:.3f} of the weights kept")
    assert value == 0.5
    assert peak <= 1.15
