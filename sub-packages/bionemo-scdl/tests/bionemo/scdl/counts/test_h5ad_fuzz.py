# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Generated h5ad files: each is read as an independent slow reader reads it, or refused by one line.

The slow reader walks through the stored numbers one by one and knows nothing of blocks, samples or NumPy's indexing.
300 files with every change, 10,000 nightly.
"""

import math
import re
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bionemo.core.errors import BionemoError
from bionemo.scdl.counts import open_counts


QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large)
TYPES = ("Gene Expression", "Antibody Capture")
values = st.one_of(st.integers(0, 9), st.integers(0, 9), st.sampled_from([0.5, -1, math.nan, 2**24, math.inf]))
matrices = st.fixed_dictionaries(
    {
        "layout": st.sampled_from(["csr", "csc", "csr", "csc", "dense"]),
        "dtype": st.sampled_from(["f4", "f8", "i4", "u2"]),
        "index": st.sampled_from(["i4", "i8"]),
        "entries": st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), values), min_size=1, max_size=9)
        | st.just([]),
    }
)
damages = st.one_of(
    st.none(),
    st.none(),
    st.tuples(st.just("indices"), st.integers(0, 8), st.sampled_from([-3, -1, 0, 3, 4, 5, 2**31 - 1])),
    st.tuples(st.sampled_from(["indptr", "data"]), st.integers(0, 8), st.integers(-3, 2**31 - 1)),
    st.tuples(st.just("delete"), st.sampled_from(["indices", "indptr", "data", "shape", "encoding-type"])),
    st.tuples(st.just("shape"), st.integers(-1, 9), st.integers(-1, 9)),
    st.tuples(st.just("cut"), st.sampled_from(["indices", "indptr", "data"]), st.integers(0, 3)),
)
files = st.fixed_dictionaries(
    {
        "matrices": st.dictionaries(
            st.sampled_from(["raw/X", "X", "layers/counts", "layers/other"]), matrices, max_size=2
        ),
        "damage": damages,
        "types": st.one_of(st.none(), st.lists(st.sampled_from(TYPES), min_size=5, max_size=5)),
        "matrix": st.sampled_from(["auto", "auto", "raw.X", "X", "layers/other"]),
        "require_counts": st.booleans(),
    }
)


class Refused(Exception):
    """What the slow reader does not accept."""


def write_frame(file, key, length, columns=()):
    group = file.create_group(key)
    group.attrs.update({"_index": "_index", "encoding-type": "dataframe", "encoding-version": "0.2.0"})
    group.attrs["column-order"] = np.array([name for name, _ in columns], dtype=h5py.string_dtype())
    for name, texts in (("_index", [f"{key}{i}" for i in range(length)]), *columns):
        group.create_dataset(name, data=np.array(texts, dtype=object), dtype=h5py.string_dtype())
        group[name].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


def write_matrix(file, place, spec):
    """Write entries in their order, duplicates included."""
    as_type = (lambda v: v) if spec["dtype"][0] == "f" else (lambda v: int(v) if math.isfinite(v) and v >= 0 else 7)
    entries = [(row, column, as_type(value)) for row, column, value in spec["entries"]]
    if spec["layout"] == "dense":
        dense = np.zeros((4, 5), spec["dtype"])
        for row, column, value in entries:
            dense[row, column] = min(value, 60_000) if spec["dtype"] == "u2" else value
        file[place] = dense
        return
    along, num_slots = (0, 4) if spec["layout"] == "csr" else (1, 5)
    entries = sorted(entries, key=lambda entry: entry[along])
    group = file.create_group(place)
    group["data"] = np.array([min(e[2], 60_000) if spec["dtype"] == "u2" else e[2] for e in entries], spec["dtype"])
    group["indices"] = np.array([entry[1 - along] for entry in entries], spec["index"])
    group["indptr"] = np.array([sum(e[along] < slot for e in entries) for slot in range(num_slots + 1)], spec["index"])
    group.attrs.update({"encoding-type": f"{spec['layout']}_matrix", "encoding-version": "0.1.0", "shape": (4, 5)})


def damage_first(file, damage):
    """Damage the first sparse matrix."""
    group = next((file[place] for place in ("raw/X", "X", "layers/counts", "layers/other") if place in file), None)
    if damage is None or not isinstance(group, h5py.Group):
        return
    kind, *rest = damage
    if kind == "delete":
        del (group if rest[0] in group else group.attrs)[rest[0]]
    elif kind == "shape":
        group.attrs["shape"] = rest
    elif kind == "cut":
        kept = group[rest[0]][: max(0, len(group[rest[0]]) - rest[1])]
        del group[rest[0]]
        group[rest[0]] = kept
    elif len(group[kind]):
        stored = group[kind][:]
        stored[rest[0] % len(stored)] = (
            min(rest[1], 60_000)
            if stored.dtype.kind == "u" and rest[1] >= 0
            else abs(rest[1])
            if stored.dtype.kind == "u"
            else rest[1]
        )
        group[kind][...] = stored


def check_sizes(group):
    try:
        kind, shape = group.attrs["encoding-type"], tuple(map(int, group.attrs["shape"]))
        lengths = [len(group[name]) for name in ("data", "indices", "indptr")]
    except KeyError as error:
        raise Refused("part missing") from error
    along = 0 if kind.startswith("csr") else 1
    if lengths[2] != shape[along] + 1 or lengths[0] != lengths[1]:
        raise Refused("sizes")
    return along, shape


def slow_matrix(element):
    """Cells by genes as a dict of (row, column) to the sum."""
    if isinstance(element, h5py.Dataset):
        if element.shape != (4, 5):
            raise Refused("shape")
        stored = {(row, column): element[row, column].item() for row in range(4) for column in range(5)}
        return stored
    along, shape = check_sizes(element)
    data, indices, indptr = (element[name][:].tolist() for name in ("data", "indices", "indptr"))
    if shape != (4, 5) or indptr[0] != 0:
        raise Refused("sizes")
    sums = {}
    for slot in range(shape[along]):
        if indptr[slot + 1] < indptr[slot] or indptr[slot + 1] > len(data):
            raise Refused("pointers")
        for position in range(indptr[slot], indptr[slot + 1]):
            if not 0 <= indices[position] < shape[1 - along]:
                raise Refused("index")
            place = (slot, indices[position]) if along == 0 else (indices[position], slot)
            sums[place] = sums.get(place, 0) + data[position]
    return sums


def is_count(value):
    return math.isfinite(value) and value >= 0 and value == int(value)


def slow_read(file, case):
    """Choose a matrix and read it, or raise `Refused`."""
    places = {"raw.X": "raw/X", "X": "X", "layers/counts": "layers/counts", "layers/other": "layers/other"}
    if case["matrix"] != "auto":
        if places[case["matrix"]] not in file:
            raise Refused("no such matrix")
        chosen = places[case["matrix"]]
    else:
        chosen = None
        for place in ("raw/X", "X", "layers/counts"):
            if place in file and chosen is None:
                stored = file[place]
                if not isinstance(stored, h5py.Dataset):
                    check_sizes(stored)  # a damaged file is refused, whatever its other matrices hold
                    stored = stored["data"]
                if all(map(is_count, stored[:].ravel().tolist())):
                    chosen = place
        if chosen is None:
            raise Refused("no counts")
    sums = slow_matrix(file[chosen])
    kept = list(range(5))
    if case["types"] and TYPES[0] in case["types"]:
        kept = [gene for gene in kept if case["types"][gene] == TYPES[0]]
    elif case["types"]:
        raise Refused("no gene expression")
    if case["require_counts"]:
        columns = set(kept)
        stored = _stored_in(file[chosen], columns)
        if not all(map(is_count, stored)):
            raise Refused("no counts")
    return chosen, [[sums.get((row, gene), 0) for gene in kept] for row in range(4)]


def _stored_in(element, columns):
    if isinstance(element, h5py.Dataset):
        return [element[row, column].item() for row in range(4) for column in columns]
    data, indices, indptr = (element[name][:].tolist() for name in ("data", "indices", "indptr"))
    by_rows = element.attrs["encoding-type"].startswith("csr")
    slot_of = [slot for slot in range(len(indptr) - 1) for _ in range(indptr[slot], indptr[slot + 1])]
    return [
        data[position]
        for position in range(len(slot_of))
        if (indices[position] if by_rows else slot_of[position]) in columns
    ]


def dense_of(source):
    dense = np.zeros(source.shape)
    for block in source.blocks(max_elements=3, max_rows=3):
        rows = np.repeat(np.arange(block.lengths.size), block.lengths) + block.first
        np.add.at(dense, (rows, block.columns), block.values.astype(np.float64))
    values, columns, row_ptr = source.read(np.array([3, 1, 0, 2]))
    again = np.zeros(source.shape)
    np.add.at(again, (np.repeat([3, 1, 0, 2], np.diff(row_ptr)), columns), values.astype(np.float64))
    np.testing.assert_array_equal(dense, again)
    return dense


def read(path, case):
    with open_counts(path, matrix=case["matrix"], require_counts=case["require_counts"]) as source:
        return dense_of(source)


def check(case):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.h5ad")
        with h5py.File(path, "w") as file:
            write_frame(file, "obs", 4)
            columns = [("feature_types", case["types"])] if case["types"] else []
            write_frame(file, "var", 5, columns)
            for place, spec in case["matrices"].items():
                write_matrix(file, place, spec)
            damage_first(file, case["damage"])
        with h5py.File(path) as file:
            try:
                expected = slow_read(file, case)
            except Refused as error:
                expected = error
        if isinstance(expected, Refused):
            with pytest.raises(BionemoError, match=re.escape(str(path))) as caught:
                read(path, case)
            assert "\n" not in str(caught.value)
            return
        found = read(path, case)
        np.testing.assert_array_equal(found, np.array(expected[1], dtype=np.float64).reshape(found.shape))


@settings(max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=QUIET)
@given(files)
def test_as_the_slow_reader(case):
    check(case)


@pytest.mark.nightly
@settings(max_examples=10_000, deadline=None, database=None, suppress_health_check=QUIET)
@given(files)
def test_many_as_the_slow_reader(case):
    check(case)
