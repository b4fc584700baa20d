# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Every BioNeMo 2 name that imported before release 3.0 moved modules still imports."""

import importlib
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


LIST = Path(__file__).with_name("bionemo2_names.txt")


def why_not_importable(name: str) -> str | None:
    """Import `module` or `module:object`; return the reason where that fails."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
        if attribute:
            getattr(module, attribute)
    except (ImportError, AttributeError) as error:
        return f"{name}: {type(error).__name__}: {error}"
    return None


def test_every_bionemo_2_name_imports(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # bionemo-fw needs NeMo and is therefore not installed beside the others; its own modules import without.
    monkeypatch.syspath_prepend(root / "sub-packages" / "bionemo-fw" / "src")
    names = LIST.read_text().splitlines()
    assert len(names) > 450
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some names say when they are imported that they are deprecated
        failed = [reason for name in names if (reason := why_not_importable(name))]
    assert failed == []


def test_a_name_that_is_gone_is_reported() -> None:
    assert why_not_importable("bionemo.core:BIONEMO_CACHE_DIR") is None
    assert why_not_importable("bionemo.core.nowhere") == (
        "bionemo.core.nowhere: ModuleNotFoundError: No module named 'bionemo.core.nowhere'"
    )
    assert "AttributeError" in str(why_not_importable("bionemo.core.api:Nothing"))


def test_the_list_names_what_a_module_offers_and_not_what_it_happens_to_import(
    load_script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = load_script("list_public_names")
    small = ModuleType("bionemo.core.small")
    vars(small).update(path=Path, os=os, __all__=["listed"])
    small.listed = Path  # type: ignore[attr-defined]
    small.ours = type("Ours", (), {"__module__": "bionemo.core.elsewhere"})  # type: ignore[attr-defined]
    words = ("listed", "ours", "path", "os", "absent")
    assert [word for word in words if script.offers(small, word)] == ["listed", "ours"]
    monkeypatch.setitem(sys.modules, "bionemo.core.small", small)
    monkeypatch.setitem(script.MODULES, "core", "small")
    assert list(script.names_of("core", set(words)))[-3:] == [
        "bionemo.core.small",
        "bionemo.core.small:listed",
        "bionemo.core.small:ours",
    ]
