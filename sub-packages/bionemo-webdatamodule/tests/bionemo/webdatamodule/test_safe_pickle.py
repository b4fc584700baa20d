# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Plain data comes through, nothing else does."""

import collections
import datetime
import functools
import io
import os
import pathlib
import pickle
import subprocess
import zipfile

import numpy as np
import pytest
import torch

from bionemo.webdatamodule._safe_pickle import safe_loads, safe_torch_load


PLAIN = {
    "scalars": [None, True, 3, 2**80, 1.5, 1j, "text", b"bytes \xff", bytearray(b"array")],
    "containers": {
        "list": [1, (2, 3)],
        "set": {4},
        "frozen": frozenset({5}),
        "range": range(1, 9, 2),
        "slice": slice(3),
    },
    "ordered": collections.OrderedDict(b=1, a=2),
    "array": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "numpy scalar": np.float32(2.5),
    "objects": np.array(["a", 1, {"b": 2}], dtype=object),
    "records": np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]),
    "dates": np.array(["2020-01-01"], dtype="M8[D]"),
    "tensor": torch.arange(6).reshape(2, 3).t(),
    "bfloat16": torch.ones(2, dtype=torch.bfloat16),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "state dict": torch.nn.Linear(2, 1).state_dict(),
    "torch types": {"dtype": torch.float16, "size": torch.Size([1, 2]), "device": torch.device("cpu")},
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", PLAIN.values(), ids=PLAIN)
def test_plain_data_comes_through(value, protocol):
    loaded = safe_loads(pickle.dumps(value, protocol))
    assert type(loaded) is type(value)
    assert repr(loaded) == repr(value)
    if isinstance(value, np.ndarray):
        assert loaded.dtype == value.dtype
        assert loaded.flags.f_contiguous == value.flags.f_contiguous


class Calls:
    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


class Own:
    pass


HOSTILE = {
    "os.system": Calls(os.system, "touch {}"),
    "subprocess": Calls(subprocess.check_call, ["touch", "{}"]),
    "eval": Calls(eval, "open('{}', 'w')"),
    "open": Calls(open, "{}", "w"),
    "getattr": Calls(getattr, os, "system"),
    "partial": functools.partial(os.system, "touch {}"),
    "path": pathlib.PurePosixPath("/tmp"),
    "date": datetime.date(2020, 1, 1),
    "own class": Own(),
    "inside a container": {"a": [1, Calls(os.system, "touch {}")]},
    "inside an array": np.array([Calls(os.system, "touch {}"), None], dtype=object),
    "torch.load": Calls(torch.load, "{}"),
    "numpy.load": Calls(np.load, "{}"),
    "inside a tensor's storage": Calls(torch.storage._load_from_bytes, pickle.dumps(Calls(os.system, "touch {}"), 2)),
}


@pytest.mark.parametrize("value", [value for name, value in HOSTILE.items() if name != "getattr"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_anything_else_is_refused_and_not_called(value, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match=r"^the pickle asks for '[\w.-]+', which is not loaded"):
        safe_loads(pickle.dumps(value, protocol))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.bool, torch.int64, torch.float64, torch.complex64, torch.float16]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 5)])
def test_tensors_of_any_type_without_torchs_slow_loader(dtype, shape, monkeypatch):
    if 0 not in shape:  # empty memory goes to torch
        monkeypatch.setattr("bionemo.webdatamodule._safe_pickle.safe_torch_load", None)
    tensor = torch.arange(int(np.prod(shape))).to(dtype).reshape(shape)
    loaded = safe_loads(pickle.dumps(tensor))
    assert loaded.dtype == dtype
    assert loaded.shape == shape
    assert torch.equal(loaded, tensor)
    loaded.add_(0) if dtype != torch.bool else loaded.logical_not_()  # the memory is writable


def test_views_share_one_storage():
    whole = torch.arange(10)
    first, second = safe_loads(pickle.dumps((whole[2:5], whole)))
    assert first.tolist() == [2, 3, 4]
    assert second.tolist() == list(range(10))


def test_cut_storage_is_an_error():
    data = pickle.dumps(torch.arange(4))
    inner = data.index(b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19")  # the old format's magic number
    storage = torch.storage._load_from_bytes
    end = data.index(b"storage") + 200
    with pytest.raises((pickle.UnpicklingError, EOFError, RuntimeError)):
        safe_loads(pickle.dumps(Calls(storage, data[inner:end])))


def test_damaged_torch_file_in_one_line():
    with pytest.raises(pickle.UnpicklingError, match=r"^torch cannot load it as plain tensors .*\(.+\)$") as caught:
        safe_torch_load(pickle.dumps([1, "a"], 5))
    assert "\n" not in str(caught.value)


def test_refusal_names_class_and_flag():
    with pytest.raises(pickle.UnpicklingError, match=r"asks for 'posix\.system'.*allow_pickle=True"):
        safe_loads(pickle.dumps(HOSTILE["os.system"]))


def test_dotted_names_do_not_reach_into_what_is_listed():
    for name in (b"dict.fromkeys", b"str.format", b"bytes.maketrans"):
        frame = b"\x80\x04\x8c\x08builtins\x8c" + bytes([len(name)]) + name + b"\x93."
        with pytest.raises(pickle.UnpicklingError, match="asks for"):
            safe_loads(frame)


def test_other_codecs_are_refused():
    with pytest.raises(pickle.UnpicklingError, match="asks for the codec 'rot13'"):
        safe_loads(b"c_codecs\nencode\n(Vtext\nVrot13\ntR.")


@pytest.mark.parametrize(
    "name", ["torch._utils _rebuild_tensor_v2", "torch.storage _load_from_bytes", "_codecs encode"]
)
def test_listed_functions_cannot_be_altered(name):
    module, function = name.split()
    # BUILD with (None, {attribute: value}) sets attributes on the object below it on the stack
    attack = f"c{module}\n{function}\n(N(dV_function\ncbuiltins\nlist\nstb.".encode()
    with pytest.raises(pickle.UnpicklingError):
        safe_loads(attack)
    assert safe_loads(pickle.dumps(torch.ones(1))).item() == 1


def test_torch_files_that_end_the_process_or_fill_the_memory():
    """torch's own restricted loader hashes a key of any depth in C."""
    deep = b"\x80\x02})" + b"\x85" * 300_000 + b"K\1s."
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", deep)
    for data in (deep, pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + deep):
        with pytest.raises(pickle.UnpicklingError, match="a key is nested deeper than 16 tuples"):
            safe_torch_load(data)
    with pytest.raises(pickle.UnpicklingError, match="a key is nested deeper"):
        safe_torch_load(file.getvalue())
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(2**28 + 1))
    with pytest.raises(pickle.UnpicklingError, match=r"bytes unpack to 268,435,457; torch\.save does not compress"):
        safe_torch_load(file.getvalue())


def test_a_state_dict_keeps_its_versions():
    model = torch.nn.Linear(2, 1)
    assert safe_loads(pickle.dumps(model.state_dict()))._metadata == model.state_dict()._metadata
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    assert safe_torch_load(file.getvalue())["bias"].shape == (1,)
    file = io.BytesIO()
    torch.save(model.state_dict(), file, _use_new_zipfile_serialization=False)
    assert safe_torch_load(file.getvalue())["bias"].shape == (1,)


def test_torch_files(tmp_path):
    file = io.BytesIO()
    torch.save({"a": torch.arange(3), "b": [1.5]}, file)
    loaded = safe_torch_load(file.getvalue())
    assert loaded["a"].tolist() == [0, 1, 2]
    file = io.BytesIO()
    torch.save(Own(), file)
    with pytest.raises(pickle.UnpicklingError):
        safe_torch_load(file.getvalue())
