# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import importlib

import pytest


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("load", ["load", "default_ngc_client", "default_pbss_client", "entrypoint"]),
        ("resource", ["Resource", "get_all_resources"]),
    ],
)
def test_the_names_are_those_of_core(module, names):
    core = pytest.importorskip(f"bionemo.core.data.{module}")
    ours = importlib.import_module(f"bionemo.testing.data.{module}")
    assert sorted(ours.__all__) == sorted(names)
    for name in names:
        assert getattr(ours, name) is getattr(core, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ours.nothing
