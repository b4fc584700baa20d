# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Members to values: as webdataset decodes, but without running what a tar says."""

import gzip
import io
import json
import os
import pickle

import numpy as np
import pytest
import torch
from webdataset.autodecode import Decoder

from bionemo.core.errors import DataError
from bionemo.webdatamodule._decoding import DecodeAndExtract


class Runs:
    def __reduce__(self):
        return os.mkdir, ("was-here",)


def saved(function, value):
    file = io.BytesIO()
    function(file, value)
    return file.getvalue()


MEMBERS = {
    "a.txt": "größe".encode(),
    "b.json": json.dumps({"x": [1, None]}).encode(),
    "c.cls": b"7",
    "d.npy": saved(np.save, np.arange(3)),
    "e.tensor.pyd": pickle.dumps(torch.arange(4)),
    "f.pickle": pickle.dumps({"n": None}),
    "g.pth": saved(lambda file, value: torch.save(value, file), {"w": torch.ones(2)}),
    "h.json.gz": gzip.compress(b"[3]"),
    "i.pkl.gz": gzip.compress(pickle.dumps((4, 5))),
    "j.unknown": b"\0raw",
}


def sample(**members):
    return {"__key__": "k", "__url__": "x.tar", **MEMBERS, **members}


def test_decodes_as_webdataset():
    values = next(iter(DecodeAndExtract(list(MEMBERS))([sample()])))
    expected = Decoder([])(sample())
    assert len(values) == len(MEMBERS)
    for member, value in zip(MEMBERS, values, strict=True):
        assert type(value) is type(expected[member])
        assert repr(value) == repr(expected[member])
    assert values[-1] == b"\0raw"
    assert values[7:9] == ([3], (4, 5))


def test_always_a_tuple_in_the_order_asked_for():
    assert list(DecodeAndExtract(["cls"])([sample()])) == [(7,)]
    assert list(DecodeAndExtract(["B.Json", "cls"])([sample(), sample(**{"c.cls": b"8"})])) == [
        ({"x": [1, None]}, 7),
        ({"x": [1, None]}, 8),
    ]


def test_members_that_are_not_asked_for_are_not_decoded():
    assert list(DecodeAndExtract(["cls"])([sample(**{"b.json": b"{broken", "f.pickle": b""})])) == [(7,)]


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        ("nothing", r"x\.tar: sample 'k': no member matches '\*\.nothing' \(found '\.a\.txt', '\.b\.json', "),
        ("gz", r"x\.tar: sample 'k': several members match '\*\.gz' \(found '\.h\.json\.gz', '\.i\.pkl\.gz'\)"),
    ],
)
def test_suffix_that_matches_none_or_several(suffix, message):
    with pytest.raises(DataError, match=message):
        list(DecodeAndExtract([suffix])([sample()]))


@pytest.mark.parametrize("member", ["f.pickle", "e.tensor.pyd", "x.pkl", "i.pkl.gz", "y.pth"])
def test_other_classes_need_the_flag(member, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = saved(lambda file, value: torch.save(value, file), Runs()) if member == "y.pth" else pickle.dumps(Runs())
    data = gzip.compress(data) if member.endswith(".gz") else data
    with pytest.raises(DataError, match=rf"x\.tar: sample 'k', member '\.{member}' cannot be decoded: .*mkdir"):
        list(DecodeAndExtract([member])([sample(**{member: data})]))
    assert not (tmp_path / "was-here").exists()
    assert list(DecodeAndExtract([member], allow_pickle=True)([sample(**{member: data})])) == [(None,)]
    assert (tmp_path / "was-here").is_dir()


def test_none_stays_none_and_is_not_unpickled_again():
    assert list(DecodeAndExtract(["f.pickle"])([sample(**{"f.pickle": pickle.dumps(None)})])) == [(None,)]


def test_damaged_member_is_named():
    with pytest.raises(DataError, match=r"x\.tar: sample 'k', member '\.b\.json' cannot be decoded: .*column 2"):
        list(DecodeAndExtract(["json"])([{"__key__": "k", "__url__": "x.tar", "b.json": b"{broken"}]))


def test_survives_pickling_for_spawned_workers():
    stage = DecodeAndExtract(["json.gz", "pyd"])
    list(stage([sample()]))
    again = pickle.loads(pickle.dumps(stage))  # noqa: S301
    assert repr(list(again([sample()]))) == "[([3], tensor([0, 1, 2, 3]))]"
