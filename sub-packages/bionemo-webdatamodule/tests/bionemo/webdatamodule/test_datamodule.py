# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The established contract: names, signatures, messages, the order of composition."""

import inspect
import pickle
import warnings
from pathlib import Path

import pytest
import torch
import webdataset as wds

from bionemo.core.errors import BionemoError, ConfigError, DataFileError
from bionemo.webdatamodule.datamodule import PickledDataWDS, Split, WebDataModule


LOADERS = {
    "fit": ("train_dataloader", "val_dataloader"),
    "validate": ("val_dataloader",),
    "test": ("test_dataloader",),
    "predict": ("predict_dataloader",),
}


@pytest.fixture
def pickles(tmp_path):
    folder = tmp_path / "pickles"
    folder.mkdir()
    for i in range(12):
        (folder / f"s{i:02d}.tensor.pyd").write_bytes(pickle.dumps(torch.tensor([i])))
        (folder / f"s{i:02d}.label.pyd").write_bytes(pickle.dumps({"label": i % 3}))
    return folder


def pickled_module(pickles, suffixes="tensor.pyd", **kwargs):
    names = [f"s{i:02d}" for i in range(12)]
    subsets = {Split.train: names[:6], Split.val: names[6:9], Split.test: names[9:]}
    dirs = {split: str(pickles.parent / split.name) for split in Split}
    return PickledDataWDS(str(pickles), subsets, suffixes, dirs, **kwargs)


def test_signatures():
    assert [split.value for split in (Split.train, Split.val, Split.test)] == [1, 2, 3]
    arguments = inspect.signature(WebDataModule).parameters
    assert list(arguments)[:9] == [
        "suffix_keys_wds",
        "dirs_tars_wds",
        "prefix_tars_wds",
        "pipeline_wds",
        "pipeline_prebatch_wld",
        "kwargs_wds",
        "kwargs_wld",
        "invoke_wds",
        "invoke_wld",
    ]
    assert arguments["prefix_tars_wds"].default == "wdshards"
    assert {arguments[name].kind.name for name in list(arguments)[9:]} == {"KEYWORD_ONLY"}
    assert list(inspect.signature(PickledDataWDS).parameters) == [
        "dir_pickles",
        "names_subset",
        "args",
        "n_tars_wds",
        "kwargs",
    ]


@pytest.mark.parametrize("stage", LOADERS)
def test_stages_and_loaders(pickles, stage):
    module = pickled_module(pickles, kwargs_wld={split: {"batch_size": None} for split in Split}, n_tars_wds=2)
    module.prepare_data()
    module.setup(stage)
    expected = {"train": range(6), "val": range(6, 9), "test": range(9, 12), "predict": range(9, 12)}
    for name in LOADERS[stage]:
        loader = getattr(module, name)()
        assert isinstance(loader, wds.WebLoader)
        assert sorted(int(sample[0]) for sample in loader) == list(expected[name.partition("_")[0]])
    splits = {"fit": {Split.train, Split.val}, "validate": {Split.val}}.get(stage, {Split.test})
    assert set(module._dataset) == splits
    assert all(isinstance(dataset, wds.WebDataset) for dataset in module._dataset.values())


def test_prepare_data_does_nothing_by_itself(tmp_path):
    assert WebDataModule("txt", {Split.train: str(tmp_path / "nothing")}).prepare_data() is None
    assert list(tmp_path.iterdir()) == []


def test_prepare_data_writes_the_tars_asked_for(pickles):
    for number in (3, 2):  # the second set is smaller: nothing of the first may stay
        module = pickled_module(pickles, ("tensor.pyd", "label.pyd"), n_tars_wds=number, prefix_tars_wds="mine")
        module.prepare_data()
        tars = [sorted(path.name for path in (pickles.parent / split.name).iterdir()) for split in Split]
        assert tars == [[f"mine-{i:06d}.tar" for i in range(number)]] * 3
    module.setup("test")
    samples = list(module._dataset[Split.test])
    assert [(int(tensor), label) for tensor, label in samples] == [(i, {"label": i % 3}) for i in (9, 10, 11)]


def test_order_of_composition(pickles):
    calls = []

    def stage(name):
        def run(source):
            calls.append(name)
            for sample in source:
                assert isinstance(sample, list if name == "wld" else tuple)  # torch's loader makes lists of tuples
                yield (*sample, name)

        return run

    module = pickled_module(
        pickles,
        pipeline_wds={Split.test: [stage("wds 1"), stage("wds 2")]},
        invoke_wds={Split.test: [("map", {"f": lambda sample: (*sample, "invoked")})]},
        kwargs_wld={Split.test: {"batch_size": None}},
        pipeline_prebatch_wld={Split.test: stage("wld")},
        invoke_wld={
            Split.test: [("batched", {"batchsize": 2, "collation_fn": list}), ("with_epoch", {"nbatches": 5})]
        },
    )
    module.prepare_data()
    module.setup("test")
    batches = list(module.test_dataloader())
    assert [len(batch) for batch in batches] == [2, 1, 2, 1, 2]
    assert batches[0][0][1:] == ("wds 1", "wds 2", "invoked", "wld")
    assert set(calls) == {"wds 1", "wds 2", "wld"}


def test_loader_batches_as_torch_does(pickles):
    module = pickled_module(pickles, kwargs_wld={Split.test: {"batch_size": 3}})
    module.prepare_data()
    module.setup("test")
    (batch,) = module.test_dataloader()
    assert torch.equal(batch[0], torch.tensor([[9], [10], [11]]))


def test_wrong_suffixes():
    with pytest.raises(TypeError, match=r"^suffix_keys_wds can only be str or Iterable\[str\]$"):
        WebDataModule(3, {})


def test_wrong_remainder():
    with pytest.raises(ConfigError, match="remainder must be one of pad, drop, uneven, but got 'repeat'"):
        WebDataModule("txt", {}, remainder="repeat")


def test_wrong_stage():
    with pytest.raises(NotImplementedError, match=r"^Data setup with stage='train' is not implemented\.$"):
        WebDataModule("txt", {}).setup("train")


def test_split_without_folder(pickles):
    message = r"^_setup_wds\(\) is called with Split.val split that doesn't have the input tar dir$"
    module = pickled_module(pickles)
    module.prepare_data()
    del module._dirs_tars_wds[Split.val]
    with pytest.raises(RuntimeError, match=message):
        module.setup("fit")
    with pytest.raises(RuntimeError, match=r"prepare_data\(\) is called with Split.val split"):
        module.prepare_data()


def test_loader_before_setup():
    module = WebDataModule("txt", {})
    message = r"_setup_dataloader\(\) is called with Split.train split without setting up the corresponding dataset\."
    with pytest.raises(ValueError, match=message):
        module.train_dataloader()


def test_folder_without_tars(tmp_path):
    (tmp_path / "other-000000.tar").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"wdshards-\*\.tar: no tars match for the split 'val'"):
        WebDataModule("txt", {Split.val: str(tmp_path)}).setup("validate")


def test_prefix_is_taken_literally(make_tars):
    folder = Path(make_tars(2, 1))
    (folder / "wdshards-000000.tar").rename(folder / "a[1]-000000.tar")
    module = WebDataModule("tensor.pyd", {Split.val: str(folder)}, "a[1]")
    module.setup("validate")
    assert [int(sample[0]) for sample in module._dataset[Split.val]] == [0, 1]


def test_interrupted_writing_is_refused(pickles):
    module = pickled_module(pickles)
    module.prepare_data()
    (pickles.parent / "test" / ".wdshards-staged").mkdir()
    with pytest.raises(DataFileError, match="Run prepare_data"):
        module.setup("test")
    module.prepare_data()
    module.setup("test")


def test_splits_in_one_folder(pickles):
    module = pickled_module(pickles)
    module._dirs_tars_wds[Split.val] = module._dirs_tars_wds[Split.train]
    with pytest.raises(ConfigError, match="the splits 'train' and 'val' have the same folder"):
        module.prepare_data()


def test_fewer_shards_than_workers(make_tars):
    module = WebDataModule("tensor.pyd", {Split.val: make_tars(6, 1)}, kwargs_wld={Split.val: {"num_workers": 2}})
    module.setup("validate")
    with pytest.raises(ValueError, match="No samples found in dataset; perhaps you have fewer shards than workers"):
        list(module.val_dataloader())
    module._kwargs_wds = {Split.val: {"empty_check": False}}
    module.setup("validate")
    assert [int(sample[0]) for sample in module.val_dataloader()] == list(range(6))


def test_errors_reach_the_caller_from_workers(make_tars):
    module = WebDataModule("nothing", {Split.val: make_tars(6, 1)}, kwargs_wld={Split.val: {"num_workers": 1}})
    module.setup("validate")
    with pytest.raises(BionemoError, match=r"wdshards-000000\.tar: sample 's0000': no member matches '\*\.nothing'"):
        list(module.val_dataloader())


def test_other_classes_need_the_flag(tmp_path):
    (tmp_path / "x.pyd").write_bytes(pickle.dumps(Path("somewhere")))

    def module(**kwargs):
        folder = str(tmp_path / "tars")
        return PickledDataWDS(str(tmp_path), {Split.val: ["x"]}, "pyd", {Split.val: folder}, **kwargs)

    refused, allowed = module(), module(allow_pickle=True)
    for each in (refused, allowed):
        each.prepare_data()
        each.setup("validate")
    with pytest.raises(
        ValueError, match=r"000000\.tar: sample 'x', member '\.pyd' .*'pathlib.PosixPath'.*allow_pickle"
    ):
        list(refused._dataset[Split.val])
    assert list(allowed._dataset[Split.val]) == [(Path("somewhere"),)]


def test_no_warnings_with_default_arguments(pickles):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = pickled_module(pickles)
        module.prepare_data()
        module.setup("fit")
        assert len(list(module.train_dataloader())) == 6


def test_train_shards_are_permuted_unless_told_otherwise(make_tars):
    folder = make_tars(20, 10)
    orders = []
    for kwargs in ({}, {"shardshuffle": False}, {"seed": 1}):
        module = WebDataModule("tensor.pyd", dict.fromkeys(Split, folder), kwargs_wds={Split.train: kwargs})
        module.setup("fit")
        loader = module.train_dataloader()
        orders.append([[int(sample[0]) for sample in loader] for _ in range(2)])
    assert orders[0][0] != orders[0][1]
    assert orders[0][0] != orders[2][0]
    assert orders[1] == [list(range(20))] * 2
    assert [int(sample[0]) for sample in module.val_dataloader()] == list(range(20))
