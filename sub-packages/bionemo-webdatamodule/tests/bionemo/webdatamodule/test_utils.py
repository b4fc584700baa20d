# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""From a folder of files to tars."""

import contextlib
import io
import logging
import pickle
import random

import pytest
import webdataset as wds

from bionemo.webdatamodule.utils import pickles_to_tars


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for i in range(7):
        for suffix in ("a.pyd", "b.txt"):
            (folder / f"s{i}.{suffix}").write_bytes(pickle.dumps([i]) if suffix == "a.pyd" else b"text %d" % i)
    return str(folder)


NAMES = [f"s{i}" for i in range(7)]


def samples_by_tar(folder, prefix="set"):
    return [list(wds.WebDataset([str(tar)], shardshuffle=False)) for tar in sorted(folder.glob(f"{prefix}-*.tar"))]


@pytest.mark.parametrize("num_shards", [None, 1, 2, 3, 7])
def test_number_and_order(files, tmp_path, num_shards):
    pickles_to_tars(files, NAMES[::-1], ["a.pyd", "b.txt"], str(tmp_path / "out"), "set", min_num_shards=num_shards)
    tars = samples_by_tar(tmp_path / "out")
    assert len(tars) == (num_shards or 1)
    assert max(map(len, tars)) - min(map(len, tars)) <= 1
    samples = [sample for tar in tars for sample in tar]
    assert [sample["__key__"] for sample in samples] == NAMES[::-1]
    assert [pickle.loads(sample["a.pyd"]) for sample in samples] == [[i] for i in range(6, -1, -1)]  # noqa: S301
    assert samples[0]["b.txt"] == b"text 6"


def test_more_tars_than_samples(files, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        pickles_to_tars(files, NAMES[:2], "a.pyd", str(tmp_path / "out"), "set", min_num_shards=5)
    assert [len(tar) for tar in samples_by_tar(tmp_path / "out")] == [1, 1]
    assert "5 tars were asked for 2 samples" in caplog.text


def test_nothing_is_unpickled(tmp_path):
    (tmp_path / "x.pyd").write_bytes(b"no pickle at all")
    pickles_to_tars(str(tmp_path), ["x"], "pyd", str(tmp_path / "out"), "set")
    assert samples_by_tar(tmp_path / "out")[0][0]["pyd"] == b"no pickle at all"


@pytest.mark.parametrize("size_bytes", [0, 1, 65_535, 65_536, 65_537, 131_072, 131_073, 3_000_000])
def test_files_of_every_size_are_copied_whole(tmp_path, size_bytes):
    content = random.Random(size_bytes).randbytes(size_bytes)
    (tmp_path / "x.bin").write_bytes(content)
    pickles_to_tars(str(tmp_path), ["x"], "bin", str(tmp_path / "out"), "set")
    assert samples_by_tar(tmp_path / "out")[0][0]["bin"] == content


def test_dots_in_names_become_dashes(tmp_path):
    (tmp_path / "1.2.x.txt").write_bytes(b"1")
    pickles_to_tars(str(tmp_path), ["1.2.x"], "txt", str(tmp_path / "out"), "set")
    assert samples_by_tar(tmp_path / "out")[0][0]["__key__"] == "1-2-x"


def test_own_samples_are_encoded_by_suffix(files, tmp_path):
    def make(name, contents):
        return {"__key__": f"new/{name}", "json": {"length": len(contents["b.txt"])}, "b.txt": contents["b.txt"]}

    pickles_to_tars(files, NAMES, ("b.txt",), str(tmp_path / "out"), "set", make)
    sample = samples_by_tar(tmp_path / "out")[0][3]
    assert (sample["__key__"], sample["json"], sample["b.txt"]) == ("new/s3", b'{"length": 6}', b"text 3")


def test_wrong_arguments(files, tmp_path):
    with pytest.raises(TypeError, match=r"^input_suffix can only be str or Iterable\[str\]$"):
        pickles_to_tars(files, NAMES, 3, str(tmp_path / "out"), "set")
    for number in (0, -2):
        with pytest.raises(ValueError, match=f"^Invalid min_num_shards = {number} <= 0$"):
            pickles_to_tars(files, NAMES, "a.pyd", str(tmp_path / "out"), "set", min_num_shards=number)
    with pytest.raises(ValueError, match="no names to write"):
        pickles_to_tars(files, [], "a.pyd", str(tmp_path / "out"), "set")
    assert not (tmp_path / "out").exists()


def broken(name, contents):
    return {"s2": {}, "s3": {"__key__": "a.b", "txt": b""}, "s4": {"__key__": "x"}, "s5": {"__key__": "y", "txt": 1}}[
        name
    ]


@pytest.mark.parametrize(
    ("name", "function", "cause"),
    [
        ("missing", lambda name, contents: {"__key__": name, **contents}, FileNotFoundError),
        ("s1", broken, KeyError),
        ("s2", broken, ValueError),
        ("s3", broken, ValueError),
        ("s4", broken, ValueError),
        ("s5", broken, AttributeError),
    ],
)
def test_failure_names_the_sample_and_leaves_nothing(files, tmp_path, name, function, cause):
    out = tmp_path / "out"
    with pytest.raises(RuntimeError, match=rf"^Failed to write {name} into tar files\.") as caught:
        pickles_to_tars(files, [name], "a.pyd", str(out), "set", function)
    assert isinstance(caught.value.__cause__, cause)
    assert list(out.iterdir()) == []
    pickles_to_tars(files, NAMES, "a.pyd", str(out), "set")
    before = (out / "set-000000.tar").read_bytes()
    with pytest.raises(RuntimeError):
        pickles_to_tars(files, [*NAMES, "missing"], "a.pyd", str(out), "set")
    assert [path.name for path in out.iterdir()] == ["set-000000.tar"]
    assert (out / "set-000000.tar").read_bytes() == before


@pytest.mark.parametrize("names", [["a.b", "x", "a-b"], ["x", "x"]])
def test_equal_keys(tmp_path, names):
    for name in names:
        (tmp_path / f"{name}.txt").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"The names '{names[0]}' and '{names[-1]}' both give the key"):
        pickles_to_tars(str(tmp_path), names, "txt", str(tmp_path / "out"), "set")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_goes_to_stderr(files, tmp_path, capsys):
    with contextlib.redirect_stderr(Terminal()) as stderr:
        pickles_to_tars(files, NAMES, "a.pyd", str(tmp_path / "out"), "set")
    assert "Writing set tars" in stderr.getvalue()
    assert "7.00/7.00" in stderr.getvalue()
    assert capsys.readouterr().out == ""
