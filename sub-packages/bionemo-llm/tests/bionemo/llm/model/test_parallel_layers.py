# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""One spec, plain layers on one device and shared ones on many: equal names, outputs and gradients, on real ranks."""

from types import SimpleNamespace

import pytest
import torch

from bionemo.core.errors import CheckpointError
from bionemo.llm.data.packing import pack_padded
from bionemo.llm.lightning import packed_forward_step, packed_loss
from bionemo.llm.model.biobert.config import BioBertConfig, to_megatron
from bionemo.llm.model.biobert.model import build_model
from bionemo.llm.model.device_placement import Placement
from bionemo.testing.megatron_on_cpu import megatron_on_cpu
from bionemo.testing.megatron_parallel_state_utils import distributed_model_parallel_state
from bionemo.testing.multiprocess import run_on_ranks, warm_pool


pytestmark = pytest.mark.nemo_env

TOKENIZER = SimpleNamespace(vocab_size=33, mask_token_id=32, pad_token_id=1)
SIZES = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "hidden_dropout": 0.0, "attention_dropout": 0.0}
PRE_NORM_TIED = BioBertConfig(**SIZES, share_embeddings_and_output_weights=True, position_embedding_type="rope")
POST_NORM = BioBertConfig(**SIZES, norm_placement="post", num_token_types=2)
QK_NORM = BioBertConfig(**SIZES, qk_layernorm=True)
CONFIGS = {"pre-LN, tied, rotary": PRE_NORM_TIED, "post-LN, untied, learned": POST_NORM, "QK norm": QK_NORM}


@pytest.fixture(scope="module", autouse=True)
def warm_ranks() -> None:
    warm_pool("bionemo.llm.model.biobert.model", "bionemo.llm.model.parallel_layers")


def packed_batch() -> dict:
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(4, 30, (3, 12), generator=generator)
    attended = torch.arange(12) < torch.tensor([[12], [5], [7]])
    labels = torch.where(torch.rand(ids.shape, generator=generator) < 0.4, ids, -100)
    return dict(pack_padded(ids, attended, labels=labels))


def whole_model(config: BioBertConfig) -> torch.nn.Module:
    return build_model(config, TOKENIZER, seed=3)


def place(config: BioBertConfig, **sizes: int) -> torch.nn.Module:
    """This rank's part of the model, filled from the whole one."""
    from megatron.core import parallel_state
    from megatron.core.process_groups_config import ProcessGroupCollection

    from bionemo.llm.model.sharding import load_whole_state

    placement = Placement(
        to_megatron(config, perform_initialization=False, **sizes),
        ProcessGroupCollection.use_mpu_process_groups(["tp", "pp", "cp"]),
        pre_process=parallel_state.is_pipeline_first_stage(),
        post_process=parallel_state.is_pipeline_last_stage(),
    )
    model = build_model(config, TOKENIZER, placement=placement)
    load_whole_state(model, whole_model(config).state_dict(), "the test")
    return model


def on_tensor_ranks(config: BioBertConfig, sequence_parallel: bool) -> dict:
    import torch.distributed as dist
    from megatron.core.tensor_parallel import gather_from_tensor_model_parallel_region

    from bionemo.llm.megatron.forward_step import vocab_parallel_loss

    world_size = dist.get_world_size()
    rank = dist.get_rank()
    dist.destroy_process_group()
    with (
        megatron_on_cpu(),
        distributed_model_parallel_state(rank=rank, world_size=world_size, tensor_model_parallel_size=world_size),
    ):
        sizes = {"tensor_model_parallel_size": world_size, "sequence_parallel": sequence_parallel}
        model = place(config, **sizes)
        batch = packed_batch()
        if sequence_parallel:  # 24 tokens are shared evenly
            assert batch["num_tokens"] % world_size == 0
        out = packed_forward_step(model, batch)
        loss, count = vocab_parallel_loss(batch, out)
        loss.backward()
        logits = gather_from_tensor_model_parallel_region(out["token_logits"].detach())
        gradients = {name: p.grad for name, p in model.named_parameters()}
        return {
            "names": list(model.state_dict()),
            "logits": logits[:, : TOKENIZER.vocab_size],
            "padding": logits[:, TOKENIZER.vocab_size :].exp().sum(),
            "loss": loss.detach(),
            "count": int(count),
            "fc1": gradients["encoder.layers.0.mlp.linear_fc1.weight"],
            "fc2": gradients["encoder.layers.1.mlp.linear_fc2.weight"],
            "head": gradients["lm_head.dense.weight"],
            "words": gradients["embedding.word_embeddings.weight"],
        }


@pytest.mark.parametrize("sequence_parallel", [False, True], ids=["tensor", "sequence"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_shared_layers_equal_plain_ones(config: BioBertConfig, sequence_parallel: bool) -> None:
    model, batch = whole_model(config), packed_batch()
    out = packed_forward_step(model, batch)
    loss, count = packed_loss(batch, out)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    ranks = run_on_ranks(2, on_tensor_ranks, config, sequence_parallel)
    for rank in ranks:
        assert rank["names"] == list(model.state_dict())
        torch.testing.assert_close(rank["logits"], out["token_logits"].detach(), atol=2e-5, rtol=0)
        assert rank["padding"] == 0
        assert rank["count"] == int(count)
        torch.testing.assert_close(rank["loss"], loss.detach(), atol=1e-4, rtol=0)
        torch.testing.assert_close(rank["head"], gradients["lm_head.dense.weight"], atol=1e-4, rtol=0)

    def joined(name: str, dim: int) -> torch.Tensor:
        return torch.cat([rank[name] for rank in ranks], dim=dim)

    expected = gradients["encoder.layers.0.mlp.linear_fc1.weight"]
    torch.testing.assert_close(joined("fc1", 0), expected, atol=1e-4, rtol=0)
    expected = gradients["encoder.layers.1.mlp.linear_fc2.weight"]
    torch.testing.assert_close(joined("fc2", 1), expected, atol=1e-4, rtol=0)
    expected = gradients["embedding.word_embeddings.weight"]
    torch.testing.assert_close(
        joined("words", 0)[: TOKENIZER.vocab_size], expected[: TOKENIZER.vocab_size], atol=1e-4, rtol=0
    )


def on_pipeline_ranks(config: BioBertConfig) -> tuple[list[str], dict[str, torch.Tensor]]:
    import torch.distributed as dist

    world_size, rank = dist.get_world_size(), dist.get_rank()
    dist.destroy_process_group()
    with (
        megatron_on_cpu(),
        distributed_model_parallel_state(rank=rank, world_size=world_size, pipeline_model_parallel_size=world_size),
    ):
        model = place(config, pipeline_model_parallel_size=world_size, pipeline_dtype=torch.float32)
        return list(model.state_dict()), {name: p.detach() for name, p in model.named_parameters()}


def test_a_stage_builds_what_it_owns_and_no_more() -> None:
    whole = whole_model(PRE_NORM_TIED).state_dict()
    (first, _), (last, last_weights) = run_on_ranks(2, on_pipeline_ranks, PRE_NORM_TIED)
    assert not [name for name in first if name.startswith(("lm_head", "output_layer", "encoder.final_layernorm"))]
    assert not [name for name in last if name.startswith("embedding")]
    assert {name.split(".")[2] for name in first if name.startswith("encoder.layers")} == {"0"}
    assert {name.split(".")[2] for name in last if name.startswith("encoder.layers")} == {"0"}
    own = last_weights["encoder.layers.0.mlp.linear_fc1.weight"]
    assert torch.equal(own, whole["encoder.layers.1.mlp.linear_fc1.weight"])
    assert torch.equal(last_weights["output_layer.weight"], whole["embedding.word_embeddings.weight"])


def load_a_wrong_state() -> None:
    from bionemo.llm.model.sharding import load_whole_state

    with megatron_on_cpu():
        import torch.distributed as dist

        dist.destroy_process_group()
        with distributed_model_parallel_state():
            model = place(QK_NORM)
            state = model.state_dict()
            with pytest.raises(CheckpointError, match=r"file: lacks encoder.final_layernorm.bias"):
                load_whole_state(model, {n: t for n, t in state.items() if "final_layernorm.bias" not in n}, "file")
            narrow = {**state, "encoder.final_layernorm.bias": torch.zeros(16)}
            with pytest.raises(CheckpointError, match=r"bias has shape \(16,\), the model has \(32,\)"):
                load_whole_state(model, narrow, "file")


def test_a_state_that_does_not_fit_is_refused() -> None:
    run_on_ranks(1, load_a_wrong_state)
