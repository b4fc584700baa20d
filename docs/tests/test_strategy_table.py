# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The decision table of the page about several GPUs is what the function behind ``--strategy auto`` says."""

import importlib.util
from pathlib import Path


SCRIPT = Path(__file__).parents[1] / "scripts/strategy_table.py"


def test_page_has_the_current_table() -> None:
    spec = importlib.util.spec_from_file_location("strategy_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.PAGE.read_text(encoding="utf-8")
    assert "| 15B | 141 GB | does not fit | fsdp " in text
    assert module.page_with_table(text) == text, "run docs/scripts/strategy_table.py --write"
