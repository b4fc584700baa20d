# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Adapters in plain ``peft`` and ``transformers``, and fine-tuned folders in ``transformers``: equal outputs."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError
from bionemo.esm2.api import load_esm2
from bionemo.esm2.finetuning.config import FinetuneESM2Config
from bionemo.esm2.finetuning.head_config import HeadConfig, Target
from bionemo.esm2.finetuning.head_layout import FinetunedLayout, load_finetuned
from bionemo.esm2.finetuning.heads import ESM2WithHead
from bionemo.esm2.finetuning.model_setup import AdapterGatherer, build_module, saved_config
from bionemo.esm2.finetuning.peft_adapter import adapters_of, read_adapter
from bionemo.llm.checkpoints.hf_directory import save_checkpoint


STATES = Target(column="states", kind="classification", classes=("H", "E", "C"))
RESIDUES = HeadConfig(level="residue", targets=(STATES,), kind="linear", dropout=0.1)
SEQUENCES = HeadConfig(level="sequence", targets=(STATES,), kind="linear", dropout=0.1)
POOLED = HeadConfig(level="sequence", targets=(STATES,), kind="mlp", hidden_size=16)
CONVOLVED = HeadConfig(level="residue", targets=(STATES,), kind="cnn", hidden_size=16)
INPUT_IDS = torch.tensor([[0, *range(4, 24), *range(23, 3, -1), 2]])


def config_for(pretrained: Path, **changes) -> FinetuneESM2Config:
    values = {"lora_finetune": True, "lora_rank": 3, "lora_alpha": 7.0}
    return FinetuneESM2Config(
        restore_from_checkpoint_path=pretrained, train_data_path=Path("x.csv"), **{**values, **changes}
    )


def trained(config: FinetuneESM2Config, head: HeadConfig) -> ESM2WithHead:
    """A model as after some training: no parameter that is trained is zero."""
    module = build_module(config, head, seed=1).on_host().eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return module


def saved(config: FinetuneESM2Config, module: ESM2WithHead, folder: Path) -> Path:
    def write_more(directory: Path) -> None:
        if config.lora_finetune:
            AdapterGatherer(config)(module)(directory)

    save_checkpoint(
        folder, saved_config(config, module), module.state_dict(), FinetunedLayout(), write_more=write_more
    )
    return folder


@torch.no_grad()
def outputs_of(module: ESM2WithHead) -> Tensor:
    found = module(INPUT_IDS)
    return found[:, 1:-1] if found.ndim == 3 else found


@pytest.mark.parametrize(
    ("head", "name"), [(RESIDUES, "EsmForTokenClassification"), (SEQUENCES, "EsmForSequenceClassification")]
)
def test_peft_and_transformers_give_the_same_logits(
    pretrained: Path, tmp_path: Path, head: HeadConfig, name: str
) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    config = config_for(pretrained)
    module = trained(config, head)
    folder = saved(config, module, tmp_path / "model")
    expected = outputs_of(module)
    plain = build_module(config_for(pretrained, lora_finetune=False), head, seed=1).on_host().eval()
    assert (outputs_of(plain) - expected).abs().max() > 0.1  # the adapters matter

    base = getattr(transformers, name).from_pretrained(pretrained, num_labels=3)
    adapted = peft.PeftModel.from_pretrained(base, folder / "adapter").eval()
    merged = getattr(transformers, name).from_pretrained(folder).eval()
    for model in (adapted, merged):
        with torch.no_grad():
            logits = model(INPUT_IDS).logits
        logits = logits[:, 1:-1] if logits.ndim == 3 else logits
        torch.testing.assert_close(logits, expected, rtol=0.0, atol=2e-5)
    assert merged.config.id2label == {0: "H", 1: "E", 2: "C"}
    assert torch.equal(outputs_of(load_finetuned(folder)), expected)
    again = build_module(config_for(pretrained, lora_checkpoint_path=folder / "adapter"), head, seed=5).on_host()
    for (*_, ours), (*_, theirs) in zip(adapters_of(module), adapters_of(again), strict=True):
        assert torch.equal(ours.up, theirs.up)
        assert torch.equal(ours.down, theirs.down)
    with pytest.raises(CheckpointError, match="Give the --lora-rank"):
        read_adapter(
            folder / "adapter",
            build_module(config_for(pretrained, lora_rank=6, lora_alpha=14.0), head, seed=1).on_host(),
        )


@pytest.mark.parametrize("head", [POOLED, CONVOLVED])
def test_other_heads_keep_their_encoder_for_transformers(pretrained: Path, tmp_path: Path, head: HeadConfig) -> None:
    transformers = pytest.importorskip("transformers")
    config = config_for(pretrained, lora_finetune=False)
    module = trained(config, head)
    folder = saved(config, module, tmp_path / "model")
    assert torch.equal(outputs_of(load_finetuned(folder)), outputs_of(module))
    encoder = transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.no_grad():
        states = encoder(INPUT_IDS).last_hidden_state
        ours = load_esm2(folder)(INPUT_IDS, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(ours, states, rtol=0.0, atol=2e-5)
    # The head by its definition, on the residues of what transformers computed.
    residues = states[0, 1:-1]
    with torch.no_grad():
        if head is POOLED:
            expected = module.head(residues.mean(dim=0, keepdim=True))
        else:
            hidden = torch.relu(module.head.first(residues.T.unsqueeze(0)))
            expected = module.head.second(hidden).transpose(1, 2)
    torch.testing.assert_close(outputs_of(module), expected, rtol=0.0, atol=2e-5)


def test_outputs_do_not_depend_on_the_company(pretrained: Path) -> None:
    sequences = [[0, 5, 6, 2], [0, *range(4, 24), 2], [0, 9, 2]]
    padded = torch.ones(3, 22, dtype=torch.long)
    for row, tokens in enumerate(sequences):
        padded[row, : len(tokens)] = torch.tensor(tokens)
    for head in (POOLED, CONVOLVED, RESIDUES, SEQUENCES):
        module = trained(config_for(pretrained, lora_finetune=False), head)
        with torch.no_grad():
            together = module(padded)
            for row, tokens in enumerate(sequences):
                alone = module(torch.tensor([tokens]))
                torch.testing.assert_close(together[row : row + 1, : alone.shape[1]], alone, rtol=0.0, atol=2e-5)
        if head.level == "residue":
            assert not together[0, 4:].any()
            assert not together[:, 0].any()
