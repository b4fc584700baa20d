# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""ESM-2 against transformers' EsmForMaskedLM with random weights: one sequence at a time, unpadded, is the oracle.

transformers 4.56 and 4.57 compute token dropout wrongly on padded rows with masks, so the oracle never pads.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError, ConfigError, DataError
from bionemo.esm2.api import ESM2MaskedLM, build_esm2, esm2_config, load_esm2, save_esm2
from bionemo.esm2.model.model import ESM2Config
from bionemo.esm2.model.sizes import ESM2_SIZES
from bionemo.llm.data.packing import pack_padded
from bionemo.llm.model.rotary import RotaryEmbedding
from bionemo.testing.masked_lm_parity import assert_padded_packed_and_alone_equal, padded


pytestmark = pytest.mark.nemo_env

LENGTHS = (3, 130, 61)
MASK_ID, PAD_ID = 32, 1
NUM_LAYERS = {"8M": 6, "35M": 12, "150M": 4, "650M": 2, "3B": 1, "15B": 1}
"""Small sizes in full, large ones with fewer layers of the published width."""


def random_module(config: ESM2Config) -> ESM2MaskedLM:
    """A model whose biases and norms are random too: zeros would hide a mistake."""
    module = build_esm2(config, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        module.model.output_layer.bias[33:].zero_()
        # The contact head and the frequencies as files hold them: neither zero nor what would be computed.
        module.model.contact_head.regression.weight.normal_(generator=generator)
        module.model.rotary_pos_emb.inv_freq.copy_(module.model.rotary_pos_emb.inv_freq.half().float())
    return module


def masked_sequences() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    sequences = []
    for length in LENGTHS:
        residues = torch.randint(4, 31, (length - 2,), generator=generator)
        sequence = torch.cat((torch.tensor([0]), residues, torch.tensor([2])))
        sequence[1 : length - 1 : 6] = MASK_ID
        sequences.append(sequence)
    return sequences


@pytest.mark.parametrize("size", ESM2_SIZES)
def test_padded_packed_and_alone_equal_hugging_face(size: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    module = random_module(esm2_config(size, num_layers=NUM_LAYERS[size]))
    save_esm2(module, tmp_path / "checkpoint")
    reference = transformers.EsmForMaskedLM.from_pretrained(tmp_path / "checkpoint").eval()

    assert_padded_packed_and_alone_equal(module, reference, masked_sequences(), PAD_ID)


@pytest.mark.parametrize("size", ["8M", "35M"])
def test_weights_survive_both_ways_bit_for_bit(size: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    module = random_module(esm2_config(size))
    save_esm2(module, tmp_path / "ours")
    reference = transformers.EsmForMaskedLM.from_pretrained(tmp_path / "ours")
    theirs = reference.state_dict()
    state = module.model.state_dict()
    assert torch.equal(theirs["esm.contact_head.regression.weight"], state["contact_head.regression.weight"])
    assert torch.equal(theirs["lm_head.decoder.weight"], state["embedding.word_embeddings.weight"][:33])
    frequencies = [tensor for name, tensor in reference.named_buffers() if name.endswith("inv_freq")]
    assert frequencies
    assert all(torch.equal(tensor, state["rotary_pos_emb.inv_freq"]) for tensor in frequencies)
    assert sum(parameter.numel() for parameter in reference.parameters()) == ESM2_SIZES[size].num_parameters

    reference.save_pretrained(tmp_path / "theirs")
    back = load_esm2(tmp_path / "theirs")
    assert replace(back.config, seq_length=1) == replace(module.config, seq_length=1)
    for name, tensor in back.model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_megatron_form_has_the_published_number_of_parameters() -> None:
    model = build_esm2(esm2_config("8M")).model
    counted = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("contact_head"))
    assert counted == 7_542_848


@pytest.mark.parametrize("size", ESM2_SIZES)
def test_published_parameter_counts_follow_from_the_sizes(size: str) -> None:
    layers, width, heads, published = ESM2_SIZES[size]
    head = width**2 + 3 * width + 33
    assert 33 * width + layers * (12 * width**2 + 13 * width) + 2 * width + head + layers * heads + 1 == published


def test_a_sequence_does_not_see_its_neighbours_in_the_pack() -> None:
    module = random_module(esm2_config("8M", num_layers=2))
    sequences = masked_sequences()
    changed = [sequences[0], sequences[1].flip(0), sequences[2]]
    with torch.no_grad():
        logits = [module(padded(s, PAD_ID), padded(s, PAD_ID) != PAD_ID).token_logits for s in (sequences, changed)]
    assert torch.equal(logits[0][0], logits[1][0])
    assert torch.equal(logits[0][2], logits[1][2])
    assert not torch.equal(logits[0][1], logits[1][1])


def test_tail_of_a_pack_changes_nothing() -> None:
    model = random_module(esm2_config("8M", num_layers=2)).model
    batch = padded(masked_sequences(), PAD_ID)
    packed = pack_padded(batch, batch != PAD_ID)
    tail = torch.zeros(17, dtype=torch.int64)
    with torch.no_grad():
        alone = model.forward_packed(
            packed["input_ids"], packed["position_ids"], packed["cu_seqlens"], packed["max_seqlen"]
        )
        longer = model.forward_packed(
            torch.cat((packed["input_ids"], tail + MASK_ID)),
            torch.cat((packed["position_ids"], tail.int())),
            packed["cu_seqlens"],
            packed["max_seqlen"],
        )
    assert torch.allclose(alone.token_logits, longer.token_logits[: len(packed["input_ids"])], atol=1e-6)


def test_gradients_equal_hugging_face(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    module = random_module(esm2_config("8M", num_layers=2))
    save_esm2(module, tmp_path / "checkpoint")
    reference = transformers.EsmForMaskedLM.from_pretrained(tmp_path / "checkpoint")
    sequence = masked_sequences()[1].unsqueeze(0)
    weight = torch.randn(sequence.shape[1], 33, generator=torch.Generator().manual_seed(4))
    (module(sequence).token_logits[0] * weight).sum().backward()
    (reference(input_ids=sequence, attention_mask=torch.ones_like(sequence)).logits[0] * weight).sum().backward()
    ours = module.model.embedding.word_embeddings.weight.grad[:33]
    theirs = reference.esm.embeddings.word_embeddings.weight.grad
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    ours = (
        module.model.encoder.layers[0]
        .self_attention.linear_qkv.weight.grad.view(20, 3, 16, 320)[:, 0]
        .reshape(320, 320)
    )
    theirs = reference.esm.encoder.layer[0].attention.self.query.weight.grad
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_frequencies_stay_float32_when_the_model_is_cast() -> None:
    rotary = RotaryEmbedding(16)
    exact = rotary.inv_freq.clone()
    rotary.bfloat16()
    assert rotary.inv_freq.dtype == torch.float32
    assert torch.equal(rotary.inv_freq, exact)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 321}, "hidden_size 321 is not divisible by num_attention_heads 20"),
        ({"biobert_spec_option": "bert_layer_local_spec"}, "biobert_spec_option bert_layer_local_spec"),
        ({"softmax_scale": 0.25}, "softmax_scale 1.0"),
        ({"num_layers": 0}, "num_layers 0"),
        ({"activation_func": "swish"}, "activation_func swish"),
    ],
)
def test_impossible_architectures_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        esm2_config("8M", **changes)


def test_unknown_size_is_named() -> None:
    with pytest.raises(ConfigError, match="model 9M: not one of 8M, 35M"):
        esm2_config("9M")


@pytest.mark.parametrize("bad_id", [33, 127, 128, -1])
def test_ids_outside_the_vocabulary_are_refused(bad_id: int) -> None:
    module = build_esm2(esm2_config("8M", num_layers=1, hidden_size=32, num_attention_heads=4, ffn_hidden_size=64))
    input_ids = torch.tensor([[0, 20, bad_id, 2], [0, 20, 2, 1]])
    with pytest.raises(DataError, match=rf"holds the id {bad_id}, but the vocabulary has 33 tokens \(ids 0 to 32\)"):
        module(input_ids)
    packed = pack_padded(input_ids, input_ids != PAD_ID)
    with pytest.raises(DataError, match=f"holds the id {bad_id}"):
        module.model.forward_packed(
            packed["input_ids"], packed["position_ids"], packed["cu_seqlens"], packed["max_seqlen"]
        )
    hidden = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0]])  # what no sequence holds may be anything
    assert module(torch.tensor([[0, 20, 2, bad_id], [0, 20, 2, 1]]), hidden).token_logits.shape == (2, 4, 33)


def test_other_tools_may_write_the_tokenizer_anew_but_weights_are_sealed(tmp_path: Path, caplog) -> None:
    from transformers import AutoTokenizer

    module = build_esm2(esm2_config("8M", num_layers=1, hidden_size=32, num_attention_heads=4, ffn_hidden_size=64))
    save_esm2(module, tmp_path / "model")
    load_esm2(tmp_path / "model")
    assert "changed since" not in caplog.text
    AutoTokenizer.from_pretrained(tmp_path / "model").save_pretrained(tmp_path / "model")
    load_esm2(tmp_path / "model")
    assert f"{tmp_path / 'model'}: changed since the checkpoint was written: " in caplog.text
    assert "tokenizer_config.json" in caplog.text
    (tmp_path / "model" / "special_tokens_map.json").unlink(missing_ok=True)
    load_esm2(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    content = weights.read_bytes()
    for data, word in (
        (content + b"\0", "changed"),
        (content[:-1], "truncated"),
        (content[:-1] + b"\7", "damaged or"),
    ):
        weights.write_bytes(data)
        with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*{word}"):
            load_esm2(tmp_path / "model")
