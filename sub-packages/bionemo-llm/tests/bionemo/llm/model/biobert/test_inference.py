# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import logging
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from bionemo.core.errors import ConfigError
from bionemo.llm.data.packing import build_packed_batch
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.inference import PackEncoder, choose_compiler, encoder_of, precision_on
from bionemo.llm.model.biobert.model import MegatronBioBertModel, build_model
from bionemo.llm.model.half_precision import parameters_to_cast
from bionemo.testing.exact_attention import exact_attention_kernel


class Vocabulary(NamedTuple):
    vocab_size: int = 20
    mask_token_id: int = 1
    pad_token_id: int = 0


def tiny(placement: str) -> MegatronBioBertModel:
    config = BioBertConfig(
        num_layers=2, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64, seq_length=16, init_method_std=0.3,
        norm_placement=placement,
    )  # fmt: skip
    return build_model(config, Vocabulary(), seed=1).eval()


def packs() -> list[Any]:
    """One nearly full pack, one of a few tokens, and one above the budget."""
    found = []
    for lengths in ([9, 16, 5], [3], [16, 16, 16, 16, 2]):
        tokens = np.random.default_rng(len(lengths)).integers(2, 20, sum(lengths))
        found.append(
            build_packed_batch(
                tokens, np.array(lengths), np.arange(len(lengths)), max_tokens=len(tokens), pad_token_id=0,
                sequences_multiple=1,
            )
        )  # fmt: skip
    return found


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.float() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("placement", ["pre", "post"])
def test_compiled_with_static_shapes_equals_plain(placement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bionemo.llm.model.biobert.inference.TOKENS_MULTIPLE", 32)
    plain = PackEncoder(tiny(placement), precision="32-true", max_tokens=32)
    for precision, tolerance in (("32-true", 1e-6), ("bf16-mixed", 3e-2)):  # of the norm; bfloat16 rounds by 4e-3
        with exact_attention_kernel():
            fast = PackEncoder(tiny(placement), precision=precision, max_tokens=32, compile_backend="aot_eager")
            placed = [fast.place(batch, 16) for batch in packs()]
            results = [fast.encode(pack, (0, 1, 2), with_logits=True) for pack in placed]
        assert [len(pack.batch["input_ids"]) for pack in placed] == [32, 32, 96]
        assert [len(pack.cu_seqlens) for pack in placed] == [33, 33, 33]
        assert [int(pack.cu_seqlens[-1]) for pack in placed] == [32, 32, 96]  # the tail is sequences too
        for batch, (states, logits) in zip(packs(), results, strict=True):
            expected, expected_logits = plain.encode(plain.place(batch, 16), (0, 1, 2), with_logits=True)
            size = batch["num_tokens"]
            assert states.keys() == expected.keys()
            for blocks, values in expected.items():
                assert len(values) == size
                assert relative_error(states[blocks][:size], values) < tolerance
            assert logits is not None
            assert expected_logits is not None
            assert not logits.requires_grad
            assert relative_error(logits[:size], expected_logits) < tolerance
    cast = dict(parameters_to_cast(fast.model))
    assert {p.dtype for p in cast.values()} == {torch.bfloat16}
    assert {p.dtype for name, p in fast.model.named_parameters() if name not in cast} <= {torch.float32}


def test_slots_of_a_compiled_model_have_few_numbers() -> None:
    lengths = np.ones(200, dtype=np.int64)
    batch = build_packed_batch(
        np.full(200, 5), lengths, np.arange(200), max_tokens=200, pad_token_id=0, sequences_multiple=1
    )
    encoder = PackEncoder(tiny("pre"), precision="32-true", max_tokens=256, compile_backend="aot_eager")
    assert len(encoder.place(batch, 16).cu_seqlens) == 1 + 256  # a multiple of 64, 4 of them cover the tail


def test_a_model_of_the_user_is_copied_before_it_is_cast() -> None:
    model = tiny("pre")
    encoder = encoder_of(model, precision="bf16-mixed", max_tokens=32, compile_backend="aot_eager")
    assert encoder.model is not model
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    with pytest.raises(ConfigError, match="precision 8: not one of 32-true, bf16-mixed, 16-mixed"):
        PackEncoder(model, precision="8", max_tokens=32)


def test_compiles_where_it_repays(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    enough = {"device": "cuda", "precision": "bf16-mixed", "num_tokens": 1000 * 4096, "max_tokens": 4096}
    assert choose_compiler(None, **enough) == "inductor"
    assert "Compiling the encoder layers at the first packed batch: about 15 s" in caplog.text
    assert choose_compiler(False, **enough) is None
    for change in ({"num_tokens": 999 * 4096}, {"precision": "32-true"}):
        caplog.clear()
        assert choose_compiler(None, **{**enough, **change}) is None
        assert "Not compiling: from 1000 packed batches of 4096 tokens" in caplog.text
        assert choose_compiler(True, **{**enough, **change}) == "inductor"
    assert choose_compiler(None, **{**enough, "device": "cpu"}) is None
    with pytest.raises(ConfigError, match="--compile: works on a GPU only"):
        choose_compiler(True, **{**enough, "device": "cpu"})
    assert [precision_on(torch.device(d), "auto") for d in ("cpu", "cuda")] == ["32-true", "bf16-mixed"]
    assert precision_on(torch.device("cuda"), "16-mixed") == "16-mixed"
