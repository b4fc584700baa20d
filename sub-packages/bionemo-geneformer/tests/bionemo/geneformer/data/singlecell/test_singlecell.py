# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from bionemo.core.data.multi_epoch_dataset import EpochIndex
from bionemo.core.errors import ConfigError, DataError, MissingFileError
from bionemo.core.utils.random_utils import get_seed_from_rng
from bionemo.geneformer.data.preprocess import GeneformerPreprocess
from bionemo.geneformer.data.singlecell.datamodule import SingleCellDataModule
from bionemo.geneformer.data.singlecell.dataset import SingleCellDataset, process_item
from bionemo.geneformer.data.singlecell.utils import sample_or_truncate
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.llm.data.masking import BertMaskConfig, apply_bert_pretraining_mask
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.testing.cells import make_cells


CELLS = make_cells(24, 40, seed=3)
DENSE = CELLS.counts.toarray()
MEDIANS = dict(zip(CELLS.gene_ids[:35], np.random.default_rng(1).lognormal(1, 1, 35).tolist(), strict=True))
TOKENIZER = GeneTokenizer.from_medians_and_genes_dicts(MEDIANS, {})


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    CELLS.to_anndata().write_h5ad(folder / "cells.h5ad")
    SingleCellMemMapDataset.from_h5ad(folder / "cells.h5ad", folder / "archive", use_X_not_raw=True)
    return folder / "archive"


def test_a_cell_is_ranked_by_its_counts_over_the_medians(archive, check_cell):
    dataset = SingleCellDataset(archive, TOKENIZER, MEDIANS, mask_prob=0.0)
    assert len(dataset) == 24
    for row in range(24):
        sample = dataset[EpochIndex(0, row)]
        assert int(sample["text"][0]) == TOKENIZER.class_id
        check_cell(
            sample["text"][1:].tolist(),
            DENSE[row],
            CELLS.gene_ids,
            TOKENIZER.vocab,
            MEDIANS,
            max_genes=1023,
            all_genes=False,
        )
        assert set(sample["labels"].tolist()) == {-100}
    assert set(sample) == {"text", "types", "attention_mask", "labels", "loss_mask", "is_random"}


def test_masks_are_a_function_of_seed_epoch_and_index(archive):
    plain = SingleCellDataset(archive, TOKENIZER, MEDIANS, mask_prob=0.0)
    masked = SingleCellDataset(archive, TOKENIZER, MEDIANS, mask_prob=0.5, seed=7)
    sample, original = masked[EpochIndex(3, 5)], plain[EpochIndex(3, 5)]["text"]
    torch.testing.assert_close(sample["text"], masked[EpochIndex(3, 5)]["text"])
    assert not torch.equal(sample["labels"], masked[EpochIndex(4, 5)]["labels"])
    chosen = sample["loss_mask"]
    assert torch.equal(sample["labels"][chosen], original[chosen])
    assert torch.equal(sample["text"][~chosen], original[~chosen])
    assert not chosen[0]
    rng = np.random.default_rng([7, 3, 5])  # the established key
    config = BertMaskConfig(TOKENIZER, range(5, 40), 0.5, 0.8, 0.1)
    expected, _, _ = apply_bert_pretraining_mask(original[1:], get_seed_from_rng(rng), config)
    assert torch.equal(sample["text"][1:], expected)


def item(values, columns, **options):
    options = {"gene_median": MEDIANS, "mask_prob": 0.0} | options
    return process_item(
        np.array(values, np.float32),
        np.array(columns),
        np.array(CELLS.gene_ids),
        TOKENIZER,
        rng=np.random.default_rng(0),
        **options,
    )["text"].tolist()


def test_process_item_by_hand():
    flat = dict.fromkeys(CELLS.gene_ids[:35], 2.0)
    assert item([3, 9, 1, 9, 50], [4, 2, 7, 0, 39], gene_median=flat) == [0, 5, 7, 9, 12]
    assert item([3, 9], [4, 2], gene_median=flat, prepend_cls_token=False, eos_token=3) == [7, 9, 3]
    assert item([3, 9, 4], [4, 2, 3], gene_median=flat, max_len=3, eos_token=3) == [0, 7, 3]
    assert item([3, 9], [4, 2], gene_median=None, normalize=False) == [0, 7, 9]
    skewed = flat | {CELLS.gene_ids[2]: 10.0}
    assert item([3, 9], [4, 2], gene_median=skewed) == [0, 9, 7]
    assert item([3, 9], [4, 2], gene_median=skewed, normalize=False) == [0, 7, 9]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (
            [1, 39],
            {"include_unrecognized_vocab_in_dataset": True},
            "Provided gene identifier, ENSG00000000039, is not in",
        ),
        ([38, 39], {}, "no gene with a count is in the tokenizer vocab"),
        ([1, 2], {"gene_median": None}, "gene_median must be provided"),
        ([1, 2], {"gene_median": {CELLS.gene_ids[1]: 1.0}}, "gene ENSG00000000002 has no median"),
        ([1, 2], {"max_len": 1}, "max_len must be greater than 1"),
        ([1, 2], {"max_len": 2, "eos_token": 3}, "max_len must leave room for a gene"),
    ],
)
def test_what_cannot_be_a_sample(columns, options, message):
    with pytest.raises(ValueError, match=message):
        item([1, 1], columns, **options)


def test_the_data_set_names_the_cell_and_checks_its_arguments(archive, tmp_path):
    with pytest.raises(ValueError, match="gene_median must be provided"):
        SingleCellDataset(archive, TOKENIZER)
    with pytest.raises(ValueError, match="max_len must be greater than 1"):
        SingleCellDataset(archive, TOKENIZER, MEDIANS, max_len=1)
    strict = SingleCellDataset(archive, TOKENIZER, MEDIANS, refuse_unknown_genes=True)
    with pytest.raises(
        DataError, match=r"archive: cell 3: Provided gene identifier, ENSG0\d+, is not in the tokenizer"
    ):
        strict[EpochIndex(0, 3)]
    with pytest.raises(IndexError, match="there are 24"):
        strict[EpochIndex(0, 24)]
    adata = CELLS.to_anndata()
    adata.var.columns = ["other"]
    adata.write_h5ad(tmp_path / "a.h5ad")
    SingleCellMemMapDataset.from_h5ad(tmp_path / "a.h5ad", tmp_path / "a", use_X_not_raw=True)
    with pytest.raises(DataError, match=r"no column 'feature_id', found \['index', 'other'\]"):
        SingleCellDataset(tmp_path / "a", TOKENIZER, MEDIANS)


def test_genes_are_drawn_or_cut():
    ids = np.arange(10)
    assert sample_or_truncate(ids, 4, sample=False).tolist() == [0, 1, 2, 3]
    assert sample_or_truncate(ids, 10) is ids
    drawn = sample_or_truncate(ids, 4, rng=np.random.default_rng(0))
    assert len(set(drawn.tolist())) == 4
    assert drawn.tolist() == sample_or_truncate(ids, 4, rng=np.random.default_rng(0)).tolist()


class Recorder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.batches, self.validated = [], []
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch):
        self.batches.append(batch["text"])
        return (self.weight * batch["text"].float().mean()).sum()

    def validation_step(self, batch):
        self.validated.append(batch["text"])

    def predict_step(self, batch):
        return batch["text"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer_of(max_steps=-1, **options):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return pl.Trainer(max_steps=max_steps, accelerator="cpu", **quiet, **options)


def data_of(archive, **options):
    paths = dict.fromkeys(("train_dataset_path", "val_dataset_path", "test_dataset_path"), archive)
    sizes = {"micro_batch_size": 2, "global_batch_size": 2, "num_workers": 0, "seq_length": 16}
    return SingleCellDataModule(TOKENIZER, MEDIANS, **{**paths, **sizes, **options})


def fit(archive, max_steps, state=None):
    module, data = Recorder(), data_of(archive)
    if state is not None:
        data.load_state_dict(state)
    trainer_of(max_steps, limit_val_batches=3).fit(module, datamodule=data)
    return module, data


def test_the_data_module_trains_validates_in_order_and_resumes(archive):
    module, data = fit(archive, 15)
    assert len(module.batches) == 15
    assert all(batch.shape[0] == 2 and batch.shape[1] <= 16 for batch in module.batches)
    assert data.state_dict() == {"consumed_samples": 30}
    rest, _ = fit(archive, 15, state={"consumed_samples": 20})
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(rest.batches, module.batches[10:], strict=False))
    validation = [data._dataset("val")[EpochIndex(0, row)]["text"] for row in range(2)]
    width = module.validated[0].shape[1]
    for found, expected in zip(module.validated[0], validation, strict=True):
        assert torch.equal(found[: len(expected)], expected)
        assert set(found[len(expected) : width].tolist()) <= {TOKENIZER.pad_id}


def test_prediction_gives_each_cell_once_unmasked(archive):
    data = data_of(archive, train_dataset_path=None, val_dataset_path=None, test_dataset_path=None,
                   predict_dataset_path=archive)  # fmt: skip
    batches = trainer_of().predict(Recorder(), datamodule=data)
    rows = [row for batch in batches for row in batch.tolist()]
    plain = SingleCellDataset(archive, TOKENIZER, MEDIANS, max_len=16, mask_prob=0.0)
    assert [[t for t in row if t != TOKENIZER.pad_id] for row in rows] == [
        plain[EpochIndex(0, i)]["text"].tolist() for i in range(24)
    ]


def test_the_data_module_refuses_what_does_not_fit(archive):
    for paths in (
        {"test_dataset_path": None},
        {"predict_dataset_path": archive},
        dict.fromkeys(("train_dataset_path", "val_dataset_path", "test_dataset_path")),
    ):
        with pytest.raises(ConfigError, match="or predict_dataset_path alone"):
            data_of(archive, **paths)
    with pytest.raises(ConfigError, match="rampup_batch_size is not supported"):
        data_of(archive, rampup_batch_size=[1, 2, 3])
    with pytest.raises(RuntimeError, match="Setup should be completed when trainer"):
        data_of(archive).setup()
    with pytest.raises(RuntimeError, match=r"Please specify trainer\.max_steps"):
        fit(archive, -1)


def test_preprocessing_builds_what_is_missing_once(tmp_path):
    with pytest.raises(MissingFileError, match=r"holds none of gene_median_dictionary\.pkl"):
        GeneformerPreprocess(tmp_path, tmp_path / "m.json", tmp_path / "v").preprocess()
    (tmp_path / "gene_median_dictionary.json").write_text(json.dumps(MEDIANS))
    (tmp_path / "gene_name_id_dict.json").write_text(json.dumps({"A": CELLS.gene_ids[0]}))
    prepared = GeneformerPreprocess(tmp_path, tmp_path / "m.json", tmp_path / "v").preprocess()
    assert prepared["median_dict"] == MEDIANS
    assert prepared["tokenizer"].vocab == TOKENIZER.vocab
    assert prepared["tokenizer"].gene_to_ens == {"A": CELLS.gene_ids[0]}
    for name in ("gene_median_dictionary.json", "gene_name_id_dict.json"):
        (tmp_path / name).unlink()
    again = GeneformerPreprocess(tmp_path, tmp_path / "m.json", tmp_path / "v").preprocess()
    assert again["tokenizer"].fingerprint == TOKENIZER.fingerprint
