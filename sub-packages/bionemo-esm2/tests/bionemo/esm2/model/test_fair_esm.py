# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""ESM-2 files of fair-esm, written and opened by fair-esm itself: same logits and contacts, back bit for bit."""

import argparse
from pathlib import Path

import pytest
import torch

from bionemo.core.errors import CheckpointError
from bionemo.esm2.api import save_esm2
from bionemo.esm2.model.fair_esm import save_fair_esm
from bionemo.esm2.model.hf_layout import ESM2Layout
from bionemo.llm.checkpoints.model_source import load_model
from bionemo.testing.masked_lm_parity import LOGITS_BOUND


esm = pytest.importorskip("esm", reason="fair-esm is not installed")
pytestmark = pytest.mark.nemo_env

NAME = "esm2_t2_tiny_UR50D"
SEQUENCE = torch.tensor([[0, 20, 15, 32, 5, 19, 4, 32, 11, 23, 2]])


def reference(folder: Path, *, half: bool = False, regression: bool = True) -> "esm.ESM2":
    """Write a random model as the published files are, and return it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = esm.ESM2(num_layers=2, embed_dim=32, attention_heads=4, alphabet="ESM-1b").eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
    for layer in model.layers:
        layer.self_attn.rot_emb.inv_freq.copy_(layer.self_attn.rot_emb.inv_freq.half().float())
    if half:
        model = model.half()
    state, contact = {}, {}
    for name, tensor in model.state_dict().items():
        prefix = "encoder." if name.startswith("lm_head.") else "encoder.sentence_encoder."
        (contact if name.startswith("contact_head.") else state)[
            name if name.startswith("contact_head.") else prefix + name
        ] = tensor
    settings = argparse.Namespace(
        encoder_layers=2, encoder_embed_dim=32, encoder_attention_heads=4, token_dropout=True, arch="transformer_lm"
    )
    folder.mkdir(exist_ok=True)
    torch.save({"cfg": {"model": settings}, "model": state}, folder / f"{NAME}.pt")
    if regression:
        torch.save({"model": contact}, folder / f"{NAME}-contact-regression.pt")
    return model.float()


def load(path: Path):
    from bionemo.esm2.api import load_esm2

    return load_esm2(path)


@pytest.mark.parametrize("half", [False, True])
def test_logits_and_contact_head_are_those_of_fair_esm(half: bool, tmp_path: Path) -> None:
    model = reference(tmp_path, half=half)
    module = load(tmp_path / f"{NAME}.pt")
    with torch.no_grad():
        expected = model(SEQUENCE, repr_layers=[0, 1, 2])
        found = module(SEQUENCE, output_hidden_states=True)
    largest = max(1.0, expected["logits"].abs().max().item())
    assert (found.token_logits - expected["logits"]).abs().max().item() <= LOGITS_BOUND * largest
    for layer, states in enumerate(found.hidden_states):
        theirs = expected["representations"][layer]
        assert (states - theirs).abs().max().item() <= 1e-5 * theirs.abs().max().item()
    contact = module.model.contact_head.regression
    assert torch.equal(contact.weight, model.contact_head.regression.weight)
    assert torch.equal(contact.bias, model.contact_head.regression.bias)


def test_out_again_bit_for_bit_and_opened_by_fair_esm(tmp_path: Path) -> None:
    model = reference(tmp_path / "in")
    loaded = load_model(tmp_path / f"in/{NAME}.pt", ESM2Layout())
    tensors = ESM2Layout().tensors_to_hf(dict(loaded.state), loaded.config)
    save_fair_esm(tensors, loaded.config, tmp_path / f"out/{NAME}.pt")
    for file in (f"{NAME}.pt", f"{NAME}-contact-regression.pt"):
        with torch.serialization.safe_globals([argparse.Namespace]):
            before, after = (torch.load(tmp_path / side / file, weights_only=True)["model"] for side in ("in", "out"))
        assert before.keys() == after.keys()
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    with torch.serialization.safe_globals([argparse.Namespace]):
        opened, _ = esm.pretrained.load_model_and_alphabet_local(tmp_path / f"out/{NAME}.pt")
    with torch.no_grad():
        found, expected = (other.eval()(SEQUENCE, return_contacts=True) for other in (opened, model))
    assert torch.equal(found["logits"], expected["logits"])
    assert torch.equal(found["contacts"], expected["contacts"])


def test_a_missing_regression_file_is_said(tmp_path: Path, caplog) -> None:
    reference(tmp_path, regression=False)
    assert not load(tmp_path / f"{NAME}.pt").model.contact_head.regression.weight.any()
    assert "hold no contact head" in caplog.text


def test_other_content_is_refused_in_one_line(tmp_path: Path) -> None:
    reference(tmp_path)
    path = tmp_path / f"{NAME}.pt"
    with torch.serialization.safe_globals([argparse.Namespace]):
        whole = torch.load(path, weights_only=True)

    def refused(content: object, match: str) -> None:
        torch.save(content, path)
        with pytest.raises(CheckpointError, match=match) as error:
            load(path)
        assert "\n" not in str(error.value)
        assert str(path) in str(error.value)

    class Touch:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    refused({**whole, "args": Touch()}, "holds more than tensors and plain values")
    assert not (tmp_path / "executed").exists()
    refused([1], "holds no fair-esm model")
    refused({"model": {"w": 1}}, "holds no fair-esm model")
    refused({"model": whole["model"]}, "says nothing about its architecture")
    settings = argparse.Namespace(encoder_layers="2", encoder_embed_dim=32, encoder_attention_heads=4)
    refused({**whole, "cfg": {"model": settings}}, "num_hidden_layers '2', expected a whole number")
    settings.encoder_layers = 3
    refused({**whole, "cfg": {"model": settings}}, "lack|has shape")
    without = {name: tensor for name, tensor in whole["model"].items() if "inv_freq" not in name}
    refused({**whole, "model": without}, "no rotary frequencies, so it is no ESM-2")
    torch.save(whole, path)
    regression = tmp_path / f"{NAME}-contact-regression.pt"
    for content, match in (
        (Touch(), "holds more than tensors and plain values"),
        ([1], "holds no"),
        ({"model": {"contact_head.regression.weight": torch.ones(1, 3)}}, "contact_head.regression"),
    ):
        torch.save(content, regression)
        with pytest.raises(CheckpointError, match=match) as error:
            load(path)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "executed").exists()


def test_fair_esm_opens_its_own_names_and_shapes_only(tmp_path: Path) -> None:
    reference(tmp_path)
    loaded = load_model(tmp_path / f"{NAME}.pt", ESM2Layout())
    with pytest.raises(CheckpointError, match=r"Call the file esm2_NAME\.pt"):
        save_fair_esm({}, loaded.config, tmp_path / "model.pt")
    save_esm2(load(tmp_path / f"{NAME}.pt"), tmp_path / "hf")
    assert (tmp_path / "hf/model.safetensors").is_file()
