# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from bionemo.geneformer.api import build_geneformer, geneformer_config
from bionemo.geneformer.embedding.encoder import build_encoder
from bionemo.llm.data.packing import build_packed_batch


GENES = list(range(10, 22))
LISTS = [GENES, *([*GENES[:rank], *GENES[rank + 1 :]] for rank in range(len(GENES)))]


@pytest.mark.parametrize(("variant", "layer"), [("V1", -1), ("V2", 0), ("BIONEMO", 0)])
def test_a_token_at_a_position_is_projected_once(variant, layer):
    sizes = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "ffn_hidden_size": 64}
    config = geneformer_config(variant, **sizes, vocab_size=40, seq_length=16, init_method_std=0.5)
    model = build_geneformer(config, seed=3).eval().model
    lengths = np.array([len(genes) for genes in LISTS])
    num_tokens = int(lengths.sum())
    batch = build_packed_batch(
        np.concatenate(LISTS), lengths, np.arange(len(LISTS)), max_tokens=num_tokens, pad_token_id=0
    )
    expected = build_encoder(model, layer)(batch)
    rows = []
    projections = [block.self_attention.linear_qkv for block in model.encoder.layers]
    hooks = [module.register_forward_hook(lambda _, args, out: rows.append(len(args[0]))) for module in projections]
    found = build_encoder(model, layer, has_repeats=True)(batch)
    for hook in hooks:
        hook.remove()
    # Every gene where it is and, but for the first, where it goes when one before it is deleted.
    assert rows == [2 * len(GENES) - 1, num_tokens][: len(rows)]
    assert len(rows) == layer + 2
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)  # float32
    assert torch.equal(build_encoder(model, layer)(batch), expected)  # nothing is left behind in the model
