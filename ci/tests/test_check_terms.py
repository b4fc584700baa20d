# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


MODULE = '''"""Say what a module does.

A plan of packs. ``plan`` is code, and so is:

    >>> plan
"""

USAGE = "one piece"


class Public:
    """Return it.

    Args:
        plan: The agreement.
    """

    field: int = 0
    """A portion."""

    def _private(self):
        """A plan nobody reads."""


def f(x):
    """Compute the packed batch."""
    option(help=f"Channels {x} of " "a token.")
    raise ValueError("the plan")
'''
PAGE = """# Plan

Fine text, `plan`.

```bash
plan
```

- a portion
- goes on
"""


@pytest.fixture
def terms(load_script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    script = load_script("check_terms")
    files = {"sub-packages/bionemo-x/src/bionemo/x/m.py": MODULE, "docs/docs/page.md": PAGE}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    monkeypatch.setattr(script, "EXCEPTIONS_PATH", tmp_path / "exceptions.txt")
    return script


def found(script: ModuleType, root: Path, **options: bool) -> list[tuple[int, str, str]]:
    rules = script.read_rules(script.RULES_PATH)
    return [(f.text.line, f.text.kind, f.match) for f in script.find(list(script.collect(root, [], **options)), rules)]


def test_texts_that_users_read_are_searched_and_code_is_not(terms: ModuleType, tmp_path: Path) -> None:
    page = [(1, "page", "Plan"), (9, "page", "portion"), (10, "page", "goes on")]
    module = [(8, "help", "piece"), (27, "help", "Channels"), (1, "summary", "Say"), (3, "docstring", "plan")]
    module += [(15, "docstring", "agreement"), (19, "summary", "portion")]
    assert found(terms, tmp_path) == page + module
    assert found(terms, tmp_path, with_messages=True)[-1] == (28, "message", "plan")


def test_pack_may_be_used_once_it_is_introduced(terms: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "sub-packages/bionemo-x/src/bionemo/x/m.py"
    path.write_text(MODULE.replace("Compute the packed batch", "Compute it"))
    assert (3, "docstring", "of packs") in found(terms, tmp_path)


def test_counts_and_exceptions_decide(terms: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--root", str(tmp_path), "--max-findings"]
    assert terms.main([*arguments, "9"]) == 0
    assert terms.main([*arguments, "8"]) == 1
    assert "9 findings, at most 8" in capsys.readouterr().err
    terms.EXCEPTIONS_PATH.write_text("# why\ndocs/docs/page.md | a portion | the name of a file\n")
    assert terms.main([*arguments, "8"]) == 0
    assert "8  findings; 1 more are excused" in capsys.readouterr().out
    terms.EXCEPTIONS_PATH.write_text("docs/docs/page.md | lost words | reason\n")
    assert terms.main(["--root", str(tmp_path)]) == 1
    assert "nothing needs the exception 'docs/docs/page.md | lost words'" in capsys.readouterr().err


def test_an_exception_needs_its_reason(terms: ModuleType, tmp_path: Path) -> None:
    terms.EXCEPTIONS_PATH.write_text("docs/docs/page.md | a portion\n")
    with pytest.raises(SystemExit, match=r"expected 'PATH \| WORDS \| REASON'"):
        terms.main(["--root", str(tmp_path)])


def test_places_choose(terms: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terms.main(["--root", str(tmp_path), "--quiet", "docs"])
    assert "     3  findings" in capsys.readouterr().out
    terms.main(["--root", str(tmp_path), "--quiet", "bionemo-x"])
    assert "     6  findings" in capsys.readouterr().out
