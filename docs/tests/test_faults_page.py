# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""The page of faults names tests that exist."""

import re
from pathlib import Path


ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/docs/developer-guide/faults-and-tests.md"


def test_every_test_that_is_named_exists() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \d", line)]
    assert len(rows) > 40
    without, missing = [], []
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", row.split("|")[3])
        if not named:
            without.append(row)
        for path, name in named:
            root = path.partition("/")[0]
            places = [ROOT / path, ROOT / f"sub-packages/bionemo-{root}/tests/bionemo/{path}"]
            texts = [place.read_text() for place in places if place.is_file()]
            if not texts or (name and f"def {name}(" not in texts[0]):
                missing.append((path, name))
    assert without == []
    assert missing == []
