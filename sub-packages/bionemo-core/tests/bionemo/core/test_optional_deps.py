# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import json

import pytest

from bionemo.core.errors import BionemoError
from bionemo.core.optional_deps import require


def test_present_module_is_returned():
    assert require("json", extra="nothing") is json


@pytest.mark.parametrize("module", ["not_there_at_all", "not_there_at_all.part", "json.not_there"])
def test_absent_module_names_the_pip_command(module):
    with pytest.raises(
        ImportError, match=rf"^{module} is not installed\. Install it with: pip install 'x\[y\]'$"
    ) as e:
        require(module, extra="x[y]")
    assert isinstance(e.value, BionemoError)


def test_broken_module_says_why(tmp_path, monkeypatch):
    (tmp_path / "broken_optional.py").write_text("import its_missing_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"is installed but cannot be imported \(ModuleNotFoundError: .*its_missing"):
        require("broken_optional", extra="x")
