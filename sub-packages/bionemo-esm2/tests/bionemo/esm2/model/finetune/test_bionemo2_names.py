# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2's data sets, configurations, losses and adapters of fine-tuning do what their names say."""

from pathlib import Path

import pytest
import torch

from bionemo.core.errors import ConfigError, DataError
from bionemo.esm2.data.tokenizer import get_tokenizer
from bionemo.esm2.model.finetune.datamodule import ESM2FineTuneDataModule
from bionemo.esm2.model.finetune.dataset import InMemoryPerTokenValueDataset, InMemorySingleValueDataset
from bionemo.esm2.model.finetune.flip_preprocess import FLIPPreprocess
from bionemo.esm2.model.finetune.peft import ESM2LoRA
from bionemo.esm2.model.finetune.sequence_model import ESM2FineTuneSeqConfig
from bionemo.esm2.model.finetune.token_model import ESM2FineTuneTokenConfig


SMALL = {"num_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "ffn_hidden_size": 32}


def batch_of(dataset) -> dict[str, torch.Tensor]:
    module = ESM2FineTuneDataModule(dataset, dataset, dataset, micro_batch_size=2, global_batch_size=2, num_workers=0)
    return next(iter(module.predict_dataloader()))


def test_values_of_sequences(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("sequences,labels\nMKT,1.5\nMKVA,2\n")
    dataset = InMemorySingleValueDataset.from_csv(tmp_path / "data.csv", task_type="regression")
    batch = batch_of(dataset)
    assert batch["labels"].tolist() == [[1.5], [2.0]]
    assert batch["text"].shape == (2, 6)
    config = ESM2FineTuneSeqConfig(**SMALL)
    model = config.configure_model(get_tokenizer()).eval()
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad} == {"head"}
    outputs = model(batch["text"], batch["attention_mask"])
    loss_sum, count, sums = config.get_loss_reduction_class()()(batch, outputs)
    expected = (outputs["regression_output"] - batch["labels"]).square().sum()
    torch.testing.assert_close(loss_sum, expected)
    assert int(count) == 2
    mean = config.get_loss_reduction_class()().reduce([sums, sums])
    torch.testing.assert_close(mean.float(), expected.detach() / 2)
    with pytest.raises(ConfigError, match="task_type ranking"):
        ESM2FineTuneSeqConfig(**SMALL, task_type="ranking")


def test_classes_of_residues_and_adapters(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("sequence,ss,m\nMKT,HHC,110\nMKVA,HCEE,1111\n")
    dataset = InMemoryPerTokenValueDataset.from_csv(
        tmp_path / "data.csv", task_type="classification", label_column="ss", labels_mask_column="m"
    )
    batch = batch_of(dataset)
    assert batch["labels"].tolist() == [[-100, 0, 0, -100, -100, -100], [-100, 0, 1, 2, 2, -100]]
    config = ESM2FineTuneTokenConfig(**SMALL)
    model = ESM2LoRA(dim=2)(config.configure_model(get_tokenizer()))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[-1] for name in trained if name.startswith("model.")} == {"up", "down"}
    outputs = model(batch["text"], batch["attention_mask"])
    _, count, _ = config.get_loss_reduction_class()()(batch, outputs)
    assert int(count) == 6
    with pytest.raises(DataError, match="2 labels and 3 mask characters for 3 residues"):
        InMemoryPerTokenValueDataset(["MKT"], ["HH"], task_type="classification")[0]


def test_flip_files_become_tables(tmp_path: Path) -> None:
    (tmp_path / "s.fasta").write_text(
        ">a SET=train VALIDATION=False TARGET=1.5\nMK\nT\n>b SET=train VALIDATION=True TARGET=2\nMKV\n"
        ">c SET=test VALIDATION=False TARGET=3\nMKI\n"
    )
    folder = FLIPPreprocess(tmp_path).prepare_dataset("gb1", tmp_path / "s.fasta")
    assert (folder / "train/x000.csv").read_text() == "id,sequence,target\na,MKT,1.5\n"
    assert (folder / "val/x000.csv").read_text() == "id,sequence,target\nb,MKV,2\n"
    assert (folder / "test/x000.csv").read_text() == "id,sequence,target\nc,MKI,3\n"
