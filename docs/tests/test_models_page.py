# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""What the page "Models" and the catalogue of downloads claim is so: commands, flags, names, sizes, memory."""

import importlib.util
import math
import re
import shlex
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from bionemo.core.config_fields import config_fields
from bionemo.core.data.resource import get_all_resources
from bionemo.esm2 import build_esm2, esm2_config
from bionemo.esm2.model.sizes import ESM2_SIZES
from bionemo.geneformer.api import build_geneformer, geneformer_config
from bionemo.geneformer.model.sizes import GENEFORMER_SIZES
from bionemo.llm.checkpoints.hub import parse_hub_name
from bionemo.llm.training.ranks.memory import StepShape, activation_bytes
from bionemo.testing.hub_server import HubServer


ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = get_all_resources()
PAGES = ("README.md", "docs/docs/index.md", "docs/docs/user-guide/quick-start.md", "docs/docs/user-guide/models.md")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("write_models_page", ROOT / "docs/scripts/write_models_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_the_one_that_the_script_writes(script) -> None:
    assert script.PAGE.read_text(encoding="utf-8") == script.models_page()
    assert (script.gigabytes(123_456_789), script.gigabytes(63_800_000_000)) == ("0.12", "64")


@pytest.mark.parametrize("page", PAGES)
def test_the_first_python_of_a_page_opens_a_published_name_and_prints_what_it_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Hub is one on the loopback interface, the model has the published shape and random weights."""
    transformers = pytest.importorskip("transformers")
    code = re.findall(r"(?ms)^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"))[0]
    (name,) = re.findall(r'from_pretrained\("([^"]+)"\)', code)
    size = ESM2_SIZES[name.split("_")[2]]
    config = transformers.EsmConfig(
        vocab_size=33, hidden_size=size.hidden_size, num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_attention_heads, intermediate_size=size.ffn_hidden_size, pad_token_id=1,
        mask_token_id=32, position_embedding_type="rotary", token_dropout=True, layer_norm_eps=1e-5,
    )  # fmt: skip
    transformers.EsmForMaskedLM(config).save_pretrained(tmp_path / "repo")
    with HubServer() as hub:
        hub.use(monkeypatch, tmp_path / "cache")
        hub.publish(name, tmp_path / "repo")
        exec(compile(code, page, "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"(?m)^print\(.*\)  # (.*)$", code) != []


@pytest.mark.parametrize("tag", CATALOGUE)
def test_what_the_catalogue_says_opens_a_resource_is_a_command_with_these_flags(tag: str) -> None:
    resource = CATALOGUE[tag]
    assert resource.license
    if resource.filename.endswith(".nemo"):
        assert resource.opens == "download only: old format"
    if resource.opens.startswith("download only: "):
        return
    command, *words = shlex.split(resource.opens)
    (point,) = entry_points(group="console_scripts", name=command)
    config_class = point.load().config_class
    known = {spelling for field in config_fields(config_class) for spelling in field.flags}
    assert {word for word in words if word.startswith("--")} <= known
    if resource.hub is not None:
        assert words[words.index("--checkpoint") + 1] == resource.hub
    else:
        downloads = re.findall(r"\$\(download_bionemo_data ([^)]+)\)", resource.opens)
        assert downloads == ([] if command == "train_esm2" else [tag])
        opens_it = ("--checkpoint", f"$(download_bionemo_data {tag})") in pairwise(words)
        assert opens_it == ("NeMo 2 checkpoint" in resource.description)


def test_every_published_model_is_in_the_catalogue_under_a_name_that_the_resolver_reads() -> None:
    names = [resource.hub for resource in CATALOGUE.values() if resource.hub]
    assert all(str(parse_hub_name(name)) == name for name in names)
    esm2 = {f"facebook/esm2_t{size.num_layers}_{name}_UR50D" for name, size in ESM2_SIZES.items()}
    published = {"V1-10M", "V2-104M", "V2-316M", "V2-104M_CLcancer"}
    assert set(names) == esm2 | {f"ctheodoris/Geneformer:Geneformer-{name}" for name in published}
    assert published - {"V2-104M_CLcancer"} <= set(GENEFORMER_SIZES)


def test_printed_sizes_are_those_of_the_shapes() -> None:
    sizes = {f"facebook/esm2_t{each.num_layers}_{name}_UR50D": each for name, each in ESM2_SIZES.items()}
    sizes |= {f"ctheodoris/Geneformer:Geneformer-{name}": each for name, each in GENEFORMER_SIZES.items()}
    for resource in CATALOGUE.values():
        if resource.hub in sizes:
            number, unit = re.match(r"(?:about )?([\d.]+) (MB|GB)", resource.size).groups()
            printed = float(number) * {"MB": 1e6, "GB": 1e9}[unit]
            assert math.isclose(printed, 4 * sizes[resource.hub].num_parameters, rel_tol=0.02)


def kept_for_backward(build, num_layers: int, ids: torch.Tensor) -> int:
    """Bytes of all tensors that autograd keeps of a forward pass, parameters left out, each storage once."""
    model = build(num_layers).train()
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(ids).token_logits.sum()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


FAMILIES = {
    "ESM-2": lambda layers: build_esm2(esm2_config("8M", num_layers=layers)),
    "Geneformer": lambda layers: build_geneformer(
        geneformer_config("V2-104M", num_layers=layers, vocab_size=500, hidden_dropout=0.0, attention_dropout=0.0)
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_memory_of_activations_is_what_autograd_keeps_of_a_layer(family: str) -> None:
    """Within a fifth: rotary positions keep rotated queries and keys, other models do not."""
    build, ids = FAMILIES[family], torch.randint(4, 24, (2, 256))
    measured = kept_for_backward(build, 2, ids) - kept_for_backward(build, 1, ids)
    computed = activation_bytes(build(1).config, StepShape(tokens=ids.numel(), half_precision=False, compiled=False))
    assert math.isclose(measured, computed, rel_tol=0.2)
