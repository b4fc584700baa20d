# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Plain data come through as the standard library reads them; everything else is one error."""

import collections
import contextlib
import io
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bionemo.core.errors import FormatError
from bionemo.core.restricted_pickle import RestrictedPickleError, RestrictedUnpickler, read_pickle, restricted_loads


PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
SHARED = ["x", np.arange(2.0)]
ARRAYS = {
    "float64": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big endian": np.arange(3, dtype=">i4"),
    "empty": np.empty((0, 3), dtype=np.float32),
    "scalar array": np.array(7, dtype=np.uint8),
    "text": np.array(["a", "bcd"]),
    "bytes": np.array([b"a", b"bcd"]),
    "dates": np.array(["2020-01-01", "NaT"], dtype="M8[D]"),
    "durations": np.array([1, 2], dtype="m8[25s]"),
    "records": np.array([(1.5, 2, [3, 4])], dtype=[("a", "f4"), ("b", ">i8"), ("c", "u1", (2,))]),
    "aligned": np.zeros(2, dtype=np.dtype([("a", "u1"), ("b", "f8")], align=True)),
    "objects": np.array([["a", 1], [None, {"b": (2,)}]], dtype=object),
    "fortran objects": np.asfortranarray(np.array([["a", 1], [None, 2.5]], dtype=object)),
    "complex": np.array([1j, 2], dtype=np.complex64),
    "bool": np.array([True, False]),
}

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.complex_numbers()
)
keys = st.recursive(st.one_of(st.integers(), st.text(), st.booleans()), lambda key: st.tuples(key, key), max_leaves=4)
plain = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(keys, inner),
        st.sets(keys),
        st.frozensets(keys),
        st.binary().map(bytearray),
        st.dictionaries(keys, inner).map(collections.OrderedDict),
        st.lists(st.integers(-300, 70_000), min_size=3),
    ),
    max_leaves=12,
)


def same(a, b):
    return type(a) is type(b) and repr(a) == repr(b)


@settings(max_examples=150, deadline=None)
@given(value=plain, protocol=st.sampled_from(PROTOCOLS))
def test_reads_what_the_standard_library_reads(value, protocol):
    data = pickle.dumps((value, [value]), protocol)
    assert same(restricted_loads(data), pickle.loads(data))  # noqa: S301 our own


@settings(max_examples=150, deadline=None)
@given(
    value=plain,
    protocol=st.sampled_from(PROTOCOLS),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3),
    cut=st.integers(0, 10_000),
)
def test_damaged_pickles_are_one_error_or_plain_data(value, protocol, changes, cut):
    data = bytearray(pickle.dumps([value, np.float32(1.5), np.arange(3), "end"], protocol))
    for position, byte in changes:
        data[position % len(data)] = byte
    with contextlib.suppress(RestrictedPickleError):
        restricted_loads(bytes(data[: len(data) - cut % len(data)] if not changes else data))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_arrays_come_through(array, protocol):
    loaded = restricted_loads(pickle.dumps([array, array.dtype], protocol))
    assert type(loaded[0]) is np.ndarray
    assert (loaded[0].dtype, loaded[1]) == (array.dtype, array.dtype)
    assert (loaded[0].flags.f_contiguous, loaded[0].flags.writeable) == (array.flags.f_contiguous, True)
    np.testing.assert_array_equal(loaded[0], array, strict=True)


def test_numbers_of_numpy_text_of_python_2_and_shared_objects():
    values = {"a": np.float32(1.5), "b": np.int16(-3), np.int64(4): np.bool_(True), "c": np.datetime64("2020-01-01")}
    assert same(restricted_loads(pickle.dumps(values)), values)
    assert restricted_loads(b"(S'a\\n\\xff'\nU\x02hiT\x01\0\0\0xI12\nL34L\nF1.5\nt.") == (
        "a\n\xff",
        "hi",
        "x",
        12,
        34,
        1.5,
    )
    loaded = restricted_loads(pickle.dumps([SHARED, SHARED, SHARED[1]]))
    assert loaded[0] is loaded[1]
    assert loaded[0][1] is loaded[2]
    repeated = restricted_loads(pickle.dumps([["gene", 1], "gene", ["cell", "gene"], {"gene": "cell"}]))
    assert repeated == [["gene", 1], "gene", ["cell", "gene"], {"gene": "cell"}]


def test_pickles_in_a_row_extra_names_and_persistent_objects():
    class Refers(pickle.Pickler):
        def persistent_id(self, obj):
            return ("id", 7) if obj is SHARED else None

    file = io.BytesIO()
    pickle.dump([1], file)
    Refers(file, 2).dump([SHARED, os.getcwd])
    unpickler = RestrictedUnpickler(
        file.getvalue(), extra={(os.getcwd.__module__, "getcwd"): "a name"}, persistent_load=lambda identity: identity
    )
    assert unpickler.load() == [1]
    assert unpickler.load() == [("id", 7), "a name"]
    assert unpickler.position == len(file.getvalue())


class Calls:
    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


def text(value):
    return b"\x8c" + bytes([len(value)]) + value.encode()


def name(module, attribute):
    return text(module) + text(attribute) + b"\x93"


RECONSTRUCT = name("numpy._core.multiarray", "_reconstruct") + b"(" + name("numpy", "ndarray") + b"K\0\x85C\x01btR"
BYTES_1MB = b"B" + struct.pack("<I", 2**20) + bytes(2**20)
REFUSED = {
    "command": (pickle.dumps(Calls(os.system, "touch canary")), r"asks for 'posix\.system'"),
    "import": (name("importlib", "import_module") + text("os") + b"\x85R.", "asks for 'importlib.import_module'"),
    "dotted name": (
        name("collections", "OrderedDict.fromkeys") + b".",
        r"asks for 'collections\.OrderedDict\.fromkeys'",
    ),
    "numpy's own loader": (name("numpy", "load") + text("canary") + b"\x85R.", r"asks for 'numpy\.load'"),
    "line break in a name": (name("a\nb", "c") + b".", r"asks for 'a\\nb\.c'"),
    "class as a value": (pickle.dumps([np.ndarray]), "holds a class"),
    "state of a function": (name("_codecs", "encode") + b"}" + text("x") + b"K\1sb.", "sets the state of .* Global"),
    "state of a list": (b"]}b.", "sets the state of an object of type list"),
    "array over a buffer": (
        name("numpy", "ndarray") + b"K\1\x85" + text("O") + b"C\x08" + b"\x41" * 8 + b"\x87R.",
        "another class than numpy.ndarray|damaged",
    ),
    "object array over bytes": (
        RECONSTRUCT + b"(K\1K\1\x85" + name("numpy", "dtype") + text("O8") + b"\x89\x88\x87R"
        b"(K\3" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89C\x08" + b"\x41" * 8 + b"tb.",
        "array of objects whose length",
    ),
    "array longer than its bytes": (
        RECONSTRUCT + b"(K\1J\xff\xff\xff\x7f\x85" + name("numpy", "dtype") + text("f8") + b"\x89\x88\x87R"
        b"(K\3" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89C\x08" + b"\x41" * 8 + b"tb.",
        r"array of \(2147483647,\) float64 over 8 bytes",
    ),
    "array without content": (b"]" + RECONSTRUCT + b"a.", "without its content"),
    "dtype by alias": (name("numpy", "dtype") + text("object") + b"\x85R.", "dtype 'object' is not supported"),
    "bytes of any size": (name("builtins", "bytearray") + b"\x8a\x05\0\0\0\0\x10\x85R.", "unexpected arguments"),
    "list of a range": (name("builtins", "list") + b".", r"asks for 'builtins\.list'"),
    "text of any size": (b"\x8d" + struct.pack("<Q", 2**60) + b".", "cut off"),
    "negative size": (b"\x8b\xff\xff\xff\xff.", "cut off|damaged"),
    "other codec": (b"c_codecs\nencode\n(Vtext\nVrot13\ntR.", "codec 'rot13'"),
    "deep lists": (b"]" * 1000 + b"a" * 999 + b".", "deeper than 100 levels"),
    "deep key": (b"})" + b"\x85" * 50_000 + b"K\1s.", "a key is nested deeper"),
    "many sets": (b"(" + b"\x8f" * 200_000 + b"l.", "more than 16,777,216 bytes"),
    "many opcodes": (b"N" + b"20" * 200_000 + b".", "more than 16,777,216 bytes"),
    "copies of bytes": (
        BYTES_1MB + b"q\0" + (name("builtins", "bytearray") + b"h\0\x85R") * 20 + b".",
        "more than 16,777,216 bytes",
    ),
    "unknown opcode": (b"\xff.", "damaged"),
    "outside object": (b"K\1Q.", "outside of itself"),
    "nothing": (b"", "damaged"),
    "empty stack": (b".", "damaged"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_everything_else_is_refused_in_one_line(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, message = REFUSED[case]
    with pytest.raises(RestrictedPickleError, match=message) as caught:
        restricted_loads(data, max_memory_bytes=2**24)
    assert isinstance(caught.value, FormatError)
    assert isinstance(caught.value, pickle.UnpicklingError)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_keys_that_share_parts_are_counted():
    """A tuple of a thousand references to a tuple of a thousand references takes a million steps to hash."""
    key = b"K\1\x85q\x000" + b"(" + b"h\0" * 1000 + b"tq\x010(" + b"h\1" * 1000 + b"t"
    with pytest.raises(RestrictedPickleError, match="more than 10,000 parts"):
        restricted_loads(b"}" + key + b"K\1s.")
    assert len(restricted_loads(b"]" + key + b"a.")[0]) == 1000


def test_files_name_themselves_and_have_a_limit(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"a": 1}))
    assert read_pickle(path) == {"a": 1}
    with pytest.raises(RestrictedPickleError, match=r"a\.pkl: \d+ bytes, expected a list of genes of at most 5\."):
        read_pickle(path, what="list of genes", max_file_bytes=5)
    path.write_bytes(b"no")
    with pytest.raises(
        RestrictedPickleError, match=r"a\.pkl: not read as a pickle of plain data: the pickle is damaged"
    ):
        read_pickle(path)
    with pytest.raises(RestrictedPickleError, match="more than 1,000 bytes"):
        restricted_loads(pickle.dumps([[], [], [], []]), max_memory_bytes=1000)
