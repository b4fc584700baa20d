# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A whole model split for a layout: every rank's file holds what Megatron says that this rank has."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bionemo.core.errors import ParallelismError
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.checkpoints.model_shards import write_model_shards
from bionemo.llm.checkpoints.shards import ShardReader, weights_in
from bionemo.llm.model.biobert.config import BioBertConfig, to_megatron
from bionemo.llm.model.biobert.model import build_model
from bionemo.llm.model.device_placement import Placement
from bionemo.llm.training.parallel_config import ParallelConfig
from bionemo.testing.megatron_on_cpu import megatron_on_cpu
from bionemo.testing.megatron_parallel_state_utils import distributed_model_parallel_state
from bionemo.testing.multiprocess import run_on_ranks, warm_pool


pytestmark = pytest.mark.nemo_env

TOKENIZER = SimpleNamespace(vocab_size=33, mask_token_id=32, pad_token_id=1)
CONFIG = BioBertConfig(
    num_layers=2,
    hidden_size=32,
    num_attention_heads=4,
    share_embeddings_and_output_weights=True,
    position_embedding_type="rope",
)
SIZES = {"tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 2}


def parts_on_rank(directory: Path) -> list[tuple[str, list[int], list[int]]]:
    """List what Megatron makes this rank save, each equal to the box of it in the files."""
    import torch.distributed as dist
    from megatron.core import parallel_state
    from megatron.core.process_groups_config import ProcessGroupCollection

    from bionemo.llm.model.sharding import METADATA, load_whole_state

    reader, rank, world_size = ShardReader(directory / "shards"), dist.get_rank(), dist.get_world_size()
    dist.destroy_process_group()
    with megatron_on_cpu(), distributed_model_parallel_state(rank=rank, world_size=world_size, **SIZES):
        placement = Placement(
            to_megatron(CONFIG, perform_initialization=False, pipeline_dtype=torch.float32, **SIZES),
            ProcessGroupCollection.use_mpu_process_groups(["tp", "pp", "cp"]),
            pre_process=parallel_state.is_pipeline_first_stage(),
            post_process=parallel_state.is_pipeline_last_stage(),
        )
        model = build_model(CONFIG, TOKENIZER, placement=placement)
        load_whole_state(model, weights_in(reader), directory)
        found = []
        for part in model.sharded_state_dict(metadata=METADATA).values():
            box = reader.read(part.key, part.global_offset, part.local_shape)
            assert torch.equal(box, part.data), part.key
            assert reader.shape(part.key) == tuple(part.global_shape), part.key
            if not any(part.replica_id[:-1]):
                found.append((part.key, list(part.global_offset), list(part.local_shape)))
        return sorted(found)


def test_every_rank_gets_what_megatron_saves_on_it(tmp_path: Path) -> None:
    warm_pool("bionemo.llm.model.biobert.model", "bionemo.llm.model.parallel_layers")
    state = build_model(CONFIG, TOKENIZER, seed=3).state_dict()
    write_model_shards(tmp_path, state, CONFIG, TOKENIZER.vocab_size, ParallelConfig(**SIZES))
    index = read_json(tmp_path / "shards/index.json")
    for rank, found in enumerate(run_on_ranks(4, parts_on_rank, tmp_path)):
        expected = [
            (name, piece["offset"], piece["shape"])
            for name, entry in index["tensors"].items()
            for piece in entry["pieces"]
            if piece["file"] == f"rank-{rank:05d}.safetensors"
        ]
        assert found == sorted(expected)
    whole = weights_in(ShardReader(tmp_path / "shards"))
    assert whole.keys() == state.keys()
    for name, tensor in state.items():  # the vocabulary is padded to twice 128 rows
        assert torch.equal(whole[name][: len(tensor)], tensor)
        assert not whole[name][len(tensor) :].any()


def test_what_cannot_be_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParallelismError, match="3 does not divide the 4 attention heads"):
        write_model_shards(tmp_path, {}, CONFIG, 33, ParallelConfig(tensor_model_parallel_size=3))
