# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""No hostile member of a tar crashes a worker, runs code, or takes more memory than the limit."""

import gzip

from bionemo.testing.hostile_files import hostile_gzip, hostile_json, hostile_pickles, hostile_tensors, load_each


LOAD = """
from bionemo.webdatamodule._decoding import DecodeAndExtract
def load(path):
    suffix, _, data = path.read_bytes().partition(b"\\n")
    stage = DecodeAndExtract([suffix.decode()])
    return list(stage([{"__key__": "k", "__url__": "x.tar", suffix.decode(): data}]))
"""


def test_members(tmp_path):
    # What runs through the same unpickler as .pyd is tried with a few of the pickles.
    few = {name: data for name, data in hostile_pickles().items() if len(data) < 1000 or name.startswith("deep")}
    kinds = {
        "pyd": hostile_pickles() | hostile_tensors(),
        "pth": few,
        "json": hostile_json(),
        "txt.gz": hostile_gzip(),
        "pkl.gz": {name: gzip.compress(data) for name, data in few.items()},
    }
    files = {
        f"{kind}: {name}": kind.encode() + b"\n" + data for kind, some in kinds.items() for name, data in some.items()
    }
    outcomes = load_each(LOAD, files, tmp_path)
    harmless = {f"json: {name}" for name in ("list", "text", "number", "null", "NaN", "values of other types")}
    harmless |= {"txt.gz: packed twice"}
    plain = ("memo of 2**32", "memo of 2**32, protocol 0", "objects in records")
    harmless |= {f"{kind}: {name}" for kind in ("pyd", "pth", "pkl.gz") for name in plain}
    assert {
        name: outcome.message for name, outcome in outcomes.items() if outcome.error is None and name not in harmless
    } == {}
    wrong = {name: outcome for name, outcome in outcomes.items() if outcome.error not in (None, "DataError")}
    assert wrong == {}
    assert max(outcome.added_mb for outcome in outcomes.values()) < 300
