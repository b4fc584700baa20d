# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The stop-and-go harness on a tiny Geneformer with dropout: stopped and resumed equals never stopped, bit for bit."""

from functools import partial

import lightning.pytorch as pl
import pytest

from bionemo.geneformer.api import geneformer_config
from bionemo.geneformer.data.packed_cells import PackedCellDataset, build_masking
from bionemo.geneformer.data.tokenized_cells import TokenLists
from bionemo.geneformer.model.hf_layout import GeneformerLayout
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import V1
from bionemo.geneformer.train import build_optimizer_config
from bionemo.geneformer.train_config import TrainGeneformerConfig
from bionemo.llm.data.pack_loaders import PackLoading, build_pack_loader
from bionemo.llm.training.config import SampleLimit
from bionemo.llm.training.engine import build_engine
from bionemo.llm.training.pretrain import build_run_trainer
from bionemo.llm.training.resolve import resolve
from bionemo.llm.training.run_beginning import RunBeginning, RunIdentity
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.stop_requests import StopRequests
from bionemo.llm.training.task import Datasets, PretrainTask
from bionemo.testing.cells import make_cells
from bionemo.testing.harnesses.mode import Mode
from bionemo.testing.harnesses.stop_and_go import RECORDING_CALLBACKS, StopAndGoHarness, get_callback
from bionemo.testing.testing_callbacks import ConsumedSamplesCallback, LearningRateCallback, TrainLossCallback


GENES = {f"ENSG{number:011d}": 1.0 for number in range(60)}
TOKENIZER = GeneTokenizer.from_medians_and_genes_dicts(GENES, {}, variant=V1)
SHAPE = {"num_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "ffn_hidden_size": 32, "seq_length": 64}


def packed_cells() -> PackedCellDataset:
    counts = make_cells(60, num_genes=60, counts_per_cell=150).counts
    cells = TokenLists.from_lists([(row.indices[(-row.data).argsort(kind="stable")] + 2).tolist() for row in counts])
    masking = build_masking(TOKENIZER, seed=1)
    return PackedCellDataset(cells, TOKENIZER, max_seq_length=64, max_tokens=128, masking=masking)


class Packs(pl.LightningDataModule):
    def __init__(self, position):
        super().__init__()
        self.cells, self.position = packed_cells(), position
        self.loading = PackLoading(tokens_per_batch=128, seed=1)

    def train_dataloader(self):
        return build_pack_loader(self.cells, self.loading, position=self.position)

    def val_dataloader(self):
        return build_pack_loader(self.cells, self.loading, epochs=1)


class TestGeneformer(StopAndGoHarness):
    num_steps, val_check_interval, limit_val_batches = 8, 3, 2
    lr, precision = 1e-2, "32"
    atol = rtol = output_tensor_atol = output_tensor_rtol = 0.0  # float32 on a CPU: bit for bit

    @classmethod
    def setup_class(cls):
        super().setup_class()
        cls.run_stop_and_go()

    @classmethod
    def setup_model(cls, mode):
        cls.run = RunDirectory(cls.tempdir / "geneformer")
        cls.run.prepare(resume=True)
        shape = geneformer_config("V1", vocab_size=TOKENIZER.vocab_size, hidden_dropout=0.2, **SHAPE)
        config = (
            TrainGeneformerConfig(
                seq_length=64, tokens_per_batch=128, num_steps=cls.num_steps, lr=cls.lr, accelerator="cpu",
                val_check_interval=cls.val_check_interval, limit_val_batches=cls.limit_val_batches,
                result_dir=cls.tempdir,
            )
        )  # fmt: skip
        cls.resolved = resolve(config, SampleLimit("--seq-length", 64))
        cls.task = PretrainTask(
            name="Geneformer",
            model_config=shape,
            vocabulary=shape.vocabulary,
            layout=GeneformerLayout(),
            optimizer=build_optimizer_config(config),
            build_datasets=partial(pytest.fail, "the harness brings its data"),
            fingerprint={},
        )
        cls.engine = build_engine(cls.resolved, cls.task)
        checkpoint = cls.latest_checkpoint() if mode is Mode.RESUME else None
        resume = None if checkpoint is None else cls.engine.read_state(checkpoint)
        cls.module = cls.engine.build_module(checkpoint, resume)
        return cls.module, Packs(cls.module.progress.position), None

    @classmethod
    def setup_trainer(cls, mode):
        identity = RunIdentity(
            run_id="1", resolved=cls.resolved, optimizer=cls.task.optimizer, architecture=cls.task.model_config
        )
        stops, cells = StopRequests(), packed_cells()
        datasets = Datasets(cells, cells, cells, unigram_loss=4.0)
        trainer = build_run_trainer(
            cls.resolved, cls.task, cls.engine, cls.run, cls.module, {}, datasets=datasets, stops=stops,
            beginning=RunBeginning(cls.run, identity, cls.module.progress.step, stops),
        )  # fmt: skip
        trainer.callbacks[:0] = cls.callbacks[mode].values()  # before the engine's own, which read and reset losses
        return trainer

    @classmethod
    def latest_checkpoint(cls):
        return cls.run.latest_checkpoint()

    @classmethod
    def fit(cls, trainer, module, datamodule, checkpoint):
        trainer.fit(module, datamodule)  # build_module has read the checkpoint

    def test_what_was_recorded(self):
        data = {kind: get_callback(self.callbacks, Mode.RESUME, kind).data for kind in RECORDING_CALLBACKS}
        assert [int(count) for count in data[ConsumedSamplesCallback]] == list(range(1, 9))
        assert len(set(map(float, data[LearningRateCallback]))) > 5
        assert len(set(map(float, data[TrainLossCallback]))) == 8
