#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Write LICENSE/third_party.txt: the packages of the running environment with version, licence and home page.

Run it in both environments; entries of the other one are kept:
    .venv/bin/python ci/scripts/list_third_party.py && .venv-nemo/bin/python ci/scripts/list_third_party.py
"""

import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path


ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "LICENSE" / "third_party.txt"
HEADING = """Third-party packages

None of these packages is part of this repository: pip installs them. Listed is what both tested environments hold, by
the packages' own metadata: name, licence, home page. Versions are in constraints.txt and constraints-nemo.txt.
"""


def licence(distribution: Distribution) -> str:
    """Return a package's licence: its SPDX expression, else its classifiers, else its licence field."""
    metadata = distribution.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classifiers = [c.split(" :: ")[-1] for c in metadata.get_all("Classifier") or [] if c.startswith("License :: ")]
    if classifiers := [c for c in classifiers if c != "OSI Approved"]:
        return ", ".join(sorted(set(classifiers)))
    stated = (metadata.get("License") or "").strip().splitlines()
    if stated and len(stated[0]) < 80:
        return stated[0].strip()
    return "see its licence files"


def home_page(distribution: Distribution) -> str:
    """Return a package's home page, or an empty text where it names none."""
    urls = {}
    for entry in distribution.metadata.get_all("Project-URL") or []:
        label, _, url = entry.partition(",")
        urls[re.sub(r"[^a-z]", "", label.lower())] = url.strip()
    stated = distribution.metadata.get("Home-page") or ""
    known = ("homepage", "home", "repository", "source", "sourcecode", "github", "documentation")
    return next((urls[label] for label in known if label in urls), "" if stated == "UNKNOWN" else stated)


def main() -> int:
    """Merge the running environment's packages into the list."""
    entries = {}
    if TARGET.is_file():
        for line in TARGET.read_text(encoding="utf-8").splitlines():
            if line.count(" | ") == 2:
                entries[line.split(" | ")[0].lower()] = line
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if not name.startswith("bionemo-"):
            entries[name.lower()] = f"{name} | {licence(distribution)} | {home_page(distribution)}"
    TARGET.write_text(HEADING + "\n" + "".join(f"{entries[key]}\n" for key in sorted(entries)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
