# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Check what importing a module drags in: one fresh interpreter for a whole list of modules of one tier.

Tiers bound what a module may import at its top: 0 the standard library, numpy and other light packages; 1 also torch
and scipy; 2 also lightning and megatron.core; 3 also nemo. The interpreter sees no GPU, and the check also tells of
modules that print or change the environment when imported.
"""

import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder

from bionemo.core.errors import ConfigError


_ALWAYS_FORBIDDEN = ("transformer_engine", "apex", "flash_attn", "bionemo.testing", "pytest")
_HEAVIER_THAN = {
    0: ("torch", "scipy", "pandas", "pyarrow", "anndata", "matplotlib", "transformers", "sklearn"),
    1: ("lightning", "pytorch_lightning", "megatron", "torchmetrics", "webdataset"),
    2: ("nemo",),
    3: (),
}
_RUN = """
import contextlib, io, json, os, sys, time
for name in json.loads(sys.argv[1])["modules"]:
    before, environ, said = set(sys.modules), dict(os.environ), io.StringIO()
    error, start = None, time.perf_counter()
    with contextlib.redirect_stdout(said):
        try:
            __import__(name)
        except BaseException as caught:
            error = f"{type(caught).__name__}: {caught}"
    record = {"module": name, "seconds": time.perf_counter() - start, "error": error, "said": said.getvalue()}
    record["loaded"] = sorted(set(sys.modules) - before)
    record["environ"] = sorted(key for key in {*environ, *os.environ} if environ.get(key) != os.environ.get(key))
    print(json.dumps(record), flush=True)
"""


@dataclass(frozen=True)
class ImportRecord:
    """What happened when one module was imported, after those before it in the list."""

    module: str
    seconds: float
    """Wall time of this import alone."""
    loaded: tuple[str, ...]
    """The modules that came into ``sys.modules`` with it."""
    environ: tuple[str, ...]
    """Environment variables that it set, changed or removed."""
    said: str
    """What it printed to stdout."""
    error: str | None
    """Type and text of the exception, if it failed."""


def forbidden_in_tier(tier: int) -> tuple[str, ...]:
    """Top-level packages that a module of this tier must not load.

    Raises:
        ConfigError: There is no such tier.
    """
    if tier not in _HEAVIER_THAN:
        raise ConfigError(f"Import tier {tier}: expected one of {sorted(_HEAVIER_THAN)}.")
    return (*_ALWAYS_FORBIDDEN, *(name for t, names in _HEAVIER_THAN.items() if t >= tier for name in names))


def list_modules(package: str) -> list[str]:
    """Name a package and every module below it, without importing any of them.

    Raises:
        ConfigError: Nothing of this name is installed.
    """
    path: Sequence[str] | None = None
    for part in _prefixes(package):
        spec = PathFinder.find_spec(part, path)
        if spec is None:
            raise ConfigError(f"{package}: no installed package of this name.")
        path = spec.submodule_search_locations
    return [package, *_below(package, path)]


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _below(package: str, path: Sequence[str] | None) -> list[str]:
    names = []
    for info in pkgutil.iter_modules(list(path or ())):
        name = f"{package}.{info.name}"
        names.append(name)
        if info.ispkg:
            spec = PathFinder.find_spec(name, path)
            names += _below(name, spec.submodule_search_locations if spec else None)
    return names


def import_in_fresh_interpreter(modules: Iterable[str], timeout_s: float = 120) -> list[ImportRecord]:
    """Import the modules one after the other in one new interpreter that sees no GPU.

    Raises:
        AssertionError: The interpreter ended early, with its stderr.
    """
    done = subprocess.run(
        [sys.executable, "-c", _RUN, json.dumps({"modules": list(modules)})],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        check=False,
    )
    assert done.returncode == 0, f"The interpreter ended with status {done.returncode}:\n{done.stderr}"
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return [ImportRecord(**{**r, "loaded": tuple(r["loaded"]), "environ": tuple(r["environ"])}) for r in records]


def import_check(
    modules: Iterable[str], *, tier: int, forbidden: Iterable[str] = (), budget_s: float | None = None
) -> list[ImportRecord]:
    """Assert that every module imports, silently, and stays in its tier.

    Args:
        modules: Dotted names; ``list_modules`` finds a package's. A module that is heavy because an earlier one
            loaded it already is blamed on that earlier one, so name the lightest first.
        tier: 0 to 3.
        forbidden: More packages or modules (dotted) that must not be loaded.
        budget_s: Limit of all imports together. Machines differ: leave generous room.

    Returns:
        One record per module, for looking at the seconds.

    Raises:
        AssertionError: One line per fault, naming the module.
    """
    banned = (*forbidden_in_tier(tier), *forbidden)
    records = import_in_fresh_interpreter(modules)
    faults = []
    for record in records:
        heavy = sorted({*banned} & {*record.loaded})
        if record.error:
            faults.append(f"{record.module}: {record.error}")
        if heavy:
            faults.append(f"{record.module}: loads {', '.join(heavy)}, which tier {tier} must not")
        if record.environ:
            faults.append(f"{record.module}: changes the environment: {', '.join(record.environ)}")
        if record.said:
            faults.append(f"{record.module}: prints {record.said!r}")
    total_s = sum(record.seconds for record in records)
    if budget_s is not None and total_s > budget_s:
        slowest = max(records, key=lambda record: record.seconds)
        faults.append(
            f"{total_s:.2f} s in all, allowed {budget_s} s; slowest: {slowest.module} {slowest.seconds:.2f} s"
        )
    assert not faults, "\n".join(faults)
    return records
