# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import pickle
import warnings

import numpy as np
import pytest

from bionemo.scdl.index.labels import read_labels, write_labels


class Malicious:
    """Unpickling this would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_labels_are_text_or_none_in_json(tmp_path):
    write_labels(tmp_path, [pathlib.Path("a/b.h5ad"), None], for_old_readers=True)
    assert read_labels(tmp_path, 2) == [str(pathlib.Path("a/b.h5ad")), None]
    old = np.load(tmp_path / "labels.npy", allow_pickle=False)
    assert old.tolist() == [str(pathlib.Path("a/b.h5ad")), ""]


def test_labels_of_text_from_old_releases(tmp_path):
    np.save(tmp_path / "labels.npy", np.array(["a.h5ad"]))
    with pytest.warns(FutureWarning, match=r"Found legacy labels.npy in "):
        assert read_labels(tmp_path, 1) == ["a.h5ad"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_labels(tmp_path, 1, decode_pickled=True) == ["a.h5ad"]


def test_pickled_paths_are_decoded_for_archives_only(tmp_path):
    np.save(tmp_path / "labels.npy", np.array([pathlib.Path("x/y.h5ad"), None, "z"], dtype=object))
    with pytest.raises(ValueError, match=r"Cannot safely load labels.npy in .* because it contains pickled objects"):
        read_labels(tmp_path, 3)
    assert read_labels(tmp_path, 3, decode_pickled=True) == ["x/y.h5ad", None, "z"]


def test_pickled_code_never_runs(tmp_path):
    target = tmp_path / "made"
    np.save(tmp_path / "labels.npy", np.array([Malicious(str(target)), None], dtype=object))
    with pytest.warns(FutureWarning, match="not decoded"):
        assert read_labels(tmp_path, 2, decode_pickled=True) == [None, None]
    assert not target.exists()


def test_an_object_array_over_bytes_is_not_decoded(tmp_path):
    """NumPy's own unpickling takes the bytes for addresses, and the process dies."""
    hostile = np.array(["x"], dtype=object)
    np.save(tmp_path / "labels.npy", hostile)
    data = (tmp_path / "labels.npy").read_bytes()
    data = data[: 10 + int.from_bytes(data[8:10], "little")] + pickle.dumps(hostile, 2)
    listed = data.index(b"]q")  # the list of contents becomes bytes, which protocol 3 knows
    (tmp_path / "labels.npy").write_bytes(data[:listed].replace(b"\x80\x02", b"\x80\x03") + b"C\x08AAAAAAAAtb.")
    with pytest.warns(FutureWarning, match="not decoded .*array of objects"):
        assert read_labels(tmp_path, 1, decode_pickled=True) == [None]


def test_missing_or_damaged_labels_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No labels file found in .* Expected labels.json or labels.npy"):
        read_labels(tmp_path, 1)
    (tmp_path / "labels.json").write_text("[1")
    with pytest.raises(ValueError, match=r"labels.json: is no JSON"):
        read_labels(tmp_path, 1)
    for content in ("[" * 100_000, '{"a": 1}', "[1]"):
        (tmp_path / "labels.json").write_text(content)
        with pytest.raises(ValueError, match=r"labels.json: .* Convert the archive again"):
            read_labels(tmp_path, 1)
