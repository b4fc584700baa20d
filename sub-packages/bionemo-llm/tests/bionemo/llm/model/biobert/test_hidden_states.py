# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

from typing import NamedTuple

import numpy as np
import pytest
import torch

from bionemo.core.errors import ConfigError
from bionemo.llm.data.packing import build_packed_batch
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.hidden_states import hidden_states_at, layer_index
from bionemo.llm.model.biobert.model import build_model


class Vocabulary(NamedTuple):
    vocab_size: int = 20
    mask_token_id: int = 1
    pad_token_id: int = 0


@pytest.mark.parametrize("placement", ["pre", "post"])
def test_equal_to_the_same_entry_of_all_hidden_states(placement: str) -> None:
    config = BioBertConfig(
        num_layers=3, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64, seq_length=8, norm_placement=placement
    )
    model = build_model(config, Vocabulary(), seed=1).eval()
    tokens, lengths = np.arange(2, 14), np.array([8, 4])
    batch = build_packed_batch(tokens, lengths, np.arange(2), max_tokens=12, pad_token_id=0)
    inputs = (batch["input_ids"], batch["position_ids"], batch["cu_seqlens"], batch["max_seqlen"])
    with torch.no_grad():
        expected = model.forward_packed(*inputs, output_hidden_states=True).all_hidden_states
        assert expected is not None
        for num_blocks in range(4):
            found = hidden_states_at(model, batch, num_blocks)
            torch.testing.assert_close(found, expected[num_blocks], rtol=0, atol=0)
            assert not found.requires_grad
        batch["max_seqlen"] = 9
        with pytest.raises(ConfigError, match="a sequence of 9 tokens exceeds the 8 learned positions"):
            hidden_states_at(model, batch, 1)


def test_layers_count_from_the_last() -> None:
    assert [layer_index(layer, 3) for layer in (0, -1, -3)] == [3, 2, 0]
    for layer in (1, -4):
        with pytest.raises(ConfigError, match=f"layer {layer}: expected 0 \\(the last\\) to -3 \\(the embedding\\)"):
            layer_index(layer, 3)
