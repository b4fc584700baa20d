# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A fine-tuning run starts with the pretrained encoder and a head that a seed decides, and no rank holds it whole."""

from functools import partial
from pathlib import Path

import pytest
import torch

from bionemo.core.errors import CheckpointError
from bionemo.geneformer.api import (
    build_geneformer,
    geneformer_config,
    load_geneformer,
    open_geneformer,
    save_geneformer,
)
from bionemo.geneformer.data.dictionaries import Dictionaries, read_gene_medians, read_tokenizer
from bionemo.geneformer.finetune import build_module
from bionemo.geneformer.finetune_config import FinetuneGeneformerConfig
from bionemo.geneformer.model.heads import GeneformerWithHead, HeadConfig
from bionemo.geneformer.model.standardization import standardize_cells
from bionemo.llm.model.lora import add_lora
from bionemo.llm.training.ranks.deferred_init import DeferredModel
from bionemo.testing.multiprocess import run_on_ranks, warm_pool
from bionemo.testing.peak_memory import assert_no_rank_held_the_whole_model, can_measure, peak_of_sharded_start


HEAD = HeadConfig(task="cell-classification", classes=("a", "b", "c"), pooling="mean")
LORA = {"lora_finetune": True, "lora_rank": 2}
SEED = 3
TINY = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "ffn_hidden_size": 64, "seq_length": 64}
AS_35M = {"num_layers": 12, "hidden_size": 480, "num_attention_heads": 20, "ffn_hidden_size": 1920, "seq_length": 64}


def save(cell_files, directory: Path, shape: dict[str, int]) -> Path:
    tokenizer = read_tokenizer(cell_files.token_dictionary)
    config = geneformer_config("V1", vocab_size=62, vocabulary_fingerprint=tokenizer.fingerprint, **shape)
    module = build_geneformer(config, seed=5)
    module.dictionaries = Dictionaries(tokenizer, read_gene_medians(cell_files.gene_medians), {})
    save_geneformer(module, directory)
    return directory


def deferred(source: Path, changes: dict, checkpoint: Path | None = None) -> DeferredModel[GeneformerWithHead]:
    config = FinetuneGeneformerConfig(
        restore_from_checkpoint_path=source, train_data_path=Path("x.parquet"), label_column="x", **changes
    )
    opened = open_geneformer(source)
    assert opened.dictionaries is not None
    return build_module(config, opened, opened.dictionaries, HEAD, seed=SEED, checkpoint=checkpoint)


@pytest.mark.parametrize("changes", [{}, LORA], ids=["the whole model", "adapters"])
def test_the_start_is_that_of_a_model_built_the_ordinary_way(changes: dict, cell_files, tmp_path: Path) -> None:
    source = save(cell_files, tmp_path / "pretrained", TINY)
    encoder = load_geneformer(source).model
    torch.manual_seed(SEED)
    ordinary = GeneformerWithHead(encoder, HEAD)
    if changes:
        add_lora(ordinary.model, rank=2)
    standardize_cells(ordinary)
    expected = ordinary.state_dict()
    found = deferred(source, {**changes, "lora_alpha": 2.0} if changes else {}).on_host()
    assert found.state_dict().keys() == expected.keys()
    assert any(".down" in name for name in expected) == bool(changes)
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    trained = {name for name, parameter in found.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in ordinary.named_parameters() if parameter.requires_grad}


def test_a_checkpoint_of_another_model_is_refused(cell_files, tmp_path: Path) -> None:
    source = save(cell_files, tmp_path / "pretrained", TINY)
    with pytest.raises(CheckpointError, match=r"lacks [0-9]+ parameters of the model, first head.classifier.bias"):
        deferred(source, {}, checkpoint=source)


def peak_of_start(small: Path, source: Path, changes: dict) -> int:
    return peak_of_sharded_start(partial(deferred, small, changes), partial(deferred, source, changes))


@pytest.mark.nightly
@pytest.mark.skipif(not can_measure(), reason="the peak of memory is read from Linux's /proc")
@pytest.mark.parametrize("changes", [{}, LORA], ids=["the whole model", "adapters"])
def test_no_rank_holds_the_whole_model(changes: dict, cell_files, tmp_path: Path) -> None:
    """35M on four ranks: the peak is at most a rank's share, two layers and 64 MiB, which is less than the model."""
    warm_pool("bionemo.geneformer.finetune")
    small = save(cell_files, tmp_path / "small", TINY)
    large = save(cell_files, tmp_path / "large", AS_35M)
    shape = load_geneformer(large).config
    peaks = run_on_ranks(4, peak_of_start, small, large, changes)
    assert_no_rank_held_the_whole_model(peaks, shape, 62)
