# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import sys

import pytest


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "lazy_sample"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from bionemo.core.lazy import lazy_exports\n"
        "__getattr__ = lazy_exports(__name__, {'Heavy': 'lazy_sample.heavy', 'heavy': 'lazy_sample.heavy'})\n"
    )
    (folder / "heavy.py").write_text("class Heavy: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import lazy_sample

    yield lazy_sample
    for name in [name for name in sys.modules if name.split(".")[0] == "lazy_sample"]:
        del sys.modules[name]


def test_import_happens_on_first_use_and_is_remembered(package):
    assert "lazy_sample.heavy" not in sys.modules
    first = package.Heavy
    assert "lazy_sample.heavy" in sys.modules
    assert vars(package)["Heavy"] is first


def test_from_import_and_submodule(package):
    from lazy_sample import Heavy, heavy

    assert heavy.Heavy is Heavy


def test_unknown_name(package):
    with pytest.raises(AttributeError, match="module 'lazy_sample' has no attribute 'Hevy'"):
        _ = package.Hevy
    assert not hasattr(package, "__wrapped__")
