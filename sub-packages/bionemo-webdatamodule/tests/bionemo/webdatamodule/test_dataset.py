# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Exactness over real ranks and workers, damage, and webdataset's own reader behind the same door."""

import random
import tarfile
from pathlib import Path

import pytest
import torch.distributed as dist
import webdataset as wds

from bionemo.core.errors import DataFileError
from bionemo.testing.multiprocess import run_on_ranks, warm_pool
from bionemo.webdatamodule.datamodule import Split, WebDataModule
from bionemo.webdatamodule.dataset import PlannedDataset, StreamedDataset, keyed_stages


@pytest.fixture(autouse=True, scope="module")
def _warm():
    warm_pool("bionemo.webdatamodule.datamodule")


def build(folder, *, workers=0, batch=3, kwargs_wds=None, **kwargs):
    module = WebDataModule(
        "tensor.pyd",
        dict.fromkeys(Split, folder),
        kwargs_wds={split: {"seed": 2} | (kwargs_wds or {}) for split in Split},
        kwargs_wld={split: {"num_workers": workers, "batch_size": None} for split in Split},
        pipeline_prebatch_wld=dict.fromkeys(Split, wds.batched(batch)),
        **kwargs,
    )
    module.setup("fit")
    return module


def epoch_of(loader):
    return [batch[0].flatten().tolist() for batch in loader]


def two_epochs(folder, workers, remainder, start_method=None):
    module = build(folder, workers=workers, remainder=remainder)
    loader = module.train_dataloader()
    epochs = [epoch_of(loader), epoch_of(loader)]
    running = iter(loader)
    head = [next(running)[0].flatten().tolist() for _ in range(2)]
    state = module.state_dict()
    running = None
    resumed = build(folder, workers=workers, remainder=remainder)
    resumed.load_state_dict(state)
    rest = epoch_of(resumed.train_dataloader())
    return {"epochs": epochs, "third": head + rest, "val": epoch_of(module.val_dataloader()), "state": state}


def flat(batches):
    return [i for batch in batches for i in batch]


@pytest.mark.parametrize("num_shards", [4, 5])
def test_two_ranks_of_two_workers_read_everything_once(make_tars, num_shards):
    results = run_on_ranks(2, two_epochs, make_tars(40, num_shards), 2, "pad")
    for pick in (lambda r: r["epochs"][0], lambda r: r["epochs"][1], lambda r: r["third"], lambda r: r["val"]):
        first, second = (pick(result) for result in results)
        assert sorted(flat(first) + flat(second)) == list(range(40))
        assert [len(batch) for batch in first] == [len(batch) for batch in second] == [3] * 6 + [2]
    assert results[0]["epochs"][0] != results[0]["epochs"][1]
    assert results[0]["state"] == results[1]["state"]
    assert results[0]["state"] == {"epoch": 2, "batches": 2, "world_size": 2, "num_workers": 2, "num_samples": 40}


@pytest.mark.parametrize(
    ("remainder", "lengths", "read"), [("pad", (21, 21), 41), ("drop", (20, 20), 40), ("uneven", (20, 21), 41)]
)
def test_what_cannot_be_shared_out_evenly(make_tars, remainder, lengths, read):
    results = run_on_ranks(2, two_epochs, make_tars(41, 3), 1, remainder)
    for epoch in range(2):
        parts = [flat(result["epochs"][epoch]) for result in results]
        assert tuple(map(len, parts)) == lengths
        assert len(set(parts[0] + parts[1])) == read


def own_rank(folder):
    parts = []
    for function in (lambda: (dist.get_rank() // 2, 1), lambda: (0, 1)):
        parts.append(flat(epoch_of(build(folder, rank_function=function).val_dataloader())))
    bare = [int(sample[0]) for sample in build(folder)._dataset[Split.val]]
    return parts, bare


def test_data_parallel_ranks_can_be_given(make_tars):
    # as with tensor parallelism over both ranks: both read all samples
    (parts, bare), (other_parts, other_bare) = run_on_ranks(2, own_rank, make_tars(10, 2))
    assert parts == other_parts == [list(range(10))] * 2
    assert bare + other_bare == list(range(10))  # a dataset without its loader asks for the rank itself


def test_spawned_workers(make_tars):
    folder = make_tars(10, 2)
    module = WebDataModule(
        "tensor.pyd",
        {Split.test: folder},
        kwargs_wld={Split.test: {"num_workers": 1, "batch_size": 5, "multiprocessing_context": "spawn"}},
    )
    module.setup("test")
    assert flat(epoch_of(module.test_dataloader())) == list(range(10))


def test_damaged_tar_is_named_at_setup_and_can_be_used_up_to_the_damage(make_tars):
    folder = make_tars(12, 3)
    tar = Path(folder, "wdshards-000001.tar")
    with tarfile.open(tar) as opened:
        last = opened.getmembers()[-1]
    tar.write_bytes(tar.read_bytes()[: last.offset_data + 10])
    with pytest.raises(
        DataFileError, match=r"wdshards-000001\.tar: is cut off: .* the last complete sample is 's0005'"
    ):
        build(folder)
    good = [0, 1, 2, 3, 4, 5, 8, 9, 10, 11]
    for handler, expected in ((wds.ignore_and_continue, good), (wds.ignore_and_stop, good[:4])):
        module = build(folder, kwargs_wds={"handler": handler})
        assert flat(epoch_of(module.val_dataloader())) == expected


STREAMED = {
    "nodesplitter": {"nodesplitter": wds.split_by_node},
    "workersplitter": {"workersplitter": wds.split_by_worker},
    "detshuffle": {"detshuffle": True, "shardshuffle": 10},
}


@pytest.mark.parametrize("kwargs", STREAMED.values(), ids=STREAMED)
def test_own_splitting_selects_webdatasets_reader(make_tars, kwargs):
    module = build(make_tars(12, 6), kwargs_wds=kwargs)
    assert isinstance(module._dataset[Split.train], StreamedDataset)
    loader = module.train_dataloader()
    epochs = [epoch_of(loader), epoch_of(loader)]
    assert [sorted(flat(epoch)) for epoch in epochs] == [list(range(12))] * 2
    if "detshuffle" in kwargs:
        assert epochs[0] != epochs[1]


def test_resampling_gives_as_much_as_is_asked_for(make_tars):
    module = build(
        make_tars(12, 3), kwargs_wds={"resampled": True}, invoke_wld={Split.train: [("with_epoch", {"nbatches": 9})]}
    )
    assert len(epoch_of(module.train_dataloader())) == 9


def test_streamed_errors_name_the_tar(make_tars):
    folder = make_tars(12, 3)
    tar = Path(folder, "wdshards-000001.tar")
    tar.write_bytes(tar.read_bytes()[:2600])
    module = build(folder, kwargs_wds={"nodesplitter": wds.split_by_node})
    with pytest.raises(DataFileError, match=r"wdshards-000001\.tar: cannot be read.*after sample 's000\d' of"):
        epoch_of(module.val_dataloader())


def test_own_urls(make_tars):
    folder = make_tars(12, 3)
    for urls in (
        f"{folder}/wdshards-{{000000..000001}}.tar",
        [f"file:{folder}/wdshards-00000{i}.tar" for i in (0, 1)],
    ):
        module = build(folder, kwargs_wds={"urls": urls})
        assert isinstance(module._dataset[Split.val], PlannedDataset)
        assert flat(epoch_of(module.val_dataloader())) == list(range(8))
    module = build(folder, kwargs_wds={"urls": f"pipe:cat {folder}/wdshards-000002.tar"})
    assert flat(epoch_of(module.val_dataloader())) == [8, 9, 10, 11]


def shuffled(stage, epoch, turn=0):
    keyed = keyed_stages([None, stage], 7, epoch, turn)[1]
    data = iter(range(30))
    return list(keyed.run(data) if isinstance(keyed, wds.detshuffle) else keyed(data))


@pytest.mark.parametrize(
    "make", [lambda: wds.shuffle(9), lambda: wds.shuffle(9, rng=random.Random(1)), wds.detshuffle]
)
def test_shuffle_stages_follow_the_epoch(make):
    stage = make()
    assert shuffled(stage, 1) == shuffled(stage, 1) == shuffled(make(), 1)
    assert len({tuple(shuffled(stage, epoch, turn)) for epoch, turn in ((0, 0), (1, 0), (5, 0), (0, 9))}) == 4


def test_shuffle_stages_keep_what_they_were_given():
    assert shuffled(wds.shuffle(9, rng=random.Random(1)), 0) == list(
        wds.shuffle(9, rng=random.Random(1))(iter(range(30)))
    )
    assert shuffled(wds.detshuffle(9, seed=4), 0) == list(wds.detshuffle(9, seed=4).run(iter(range(30))))
    assert shuffled(wds.shuffle(9, seed=4), 3) == list(wds.shuffle(9, seed=4)(iter(range(30))))
