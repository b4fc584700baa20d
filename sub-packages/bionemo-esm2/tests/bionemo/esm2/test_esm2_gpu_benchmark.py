# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The GPU benchmark's code runs, in miniature on a CPU, before anybody rents a GPU for it."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch


SCRIPT = Path(__file__).parents[5] / "benchmarks/esm2_gpu.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("esm2_gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(benchmark: ModuleType) -> list[str]:
    """One competitor of each kind: sizes, kernels and, here, graphs run the same code."""
    kinds = {}
    for name in benchmark.COMPETITORS:
        kind, _, *rest = name.split()
        kinds.setdefault((kind, *(option for option in rest if option not in ("torch", "cudnn", "graph"))), name)
    return list(kinds.values())


@pytest.mark.nightly
def test_every_kind_of_row_is_measured_and_reported(benchmark: ModuleType, tmp_path: Path) -> None:
    results = benchmark.Results(tmp_path / "rows.json")
    with benchmark.rehearsal():
        (ceiling,) = benchmark.rows_of("ceiling")
        for name in names(benchmark):
            torch._dynamo.reset()
            for row in benchmark.rows_of(name):
                results.add({**row, "ceiling": ceiling["tflops"]})
        assert "in all" in benchmark.profile_ours("8M", "auto")
    rows = benchmark.Results(tmp_path / "rows.json").content["rows"]
    assert all(row["tokens_per_s"] > 0 and row["steps"] >= 2 for row in rows)
    ours = {(row["data"], row["what"]) for row in rows if row["name"] == "ours 650M auto"}
    assert ours == {(data, what) for data in ("natural", "full") for what in ("train", "embed")}
    whats = [row["what"] for row in rows if row["name"] == "hf 650M compiled"]
    assert whats == [
        "train grouped 8k", "train grouped 16k", "train random", "train full",
        "embed grouped 16k", "embed random", "embed full",
    ]  # fmt: skip
    report = benchmark.report(results)
    assert report.count("\n| 650M |") == sum(row["size"] == "650M" for row in rows)
    assert "650M full, times Hugging Face" in report


def test_bars_are_met_missed_or_not_measured(benchmark: ModuleType) -> None:
    def row(name: str, what: str, speed: float) -> dict:
        return {
            "name": name,
            "data": "natural",
            "what": what,
            "tokens_per_s": speed,
            "tflops": 1,
            "ceiling": 2,
            "gib": 1,
        }

    rows = [
        row("ours 650M auto", "train", 110e3), row("ours 650M torch", "train", 101e3),
        row("ours 650M auto pure", "train", 1e9), row("hf 650M compiled", "train random", 30e3),
        row("hf 650M compiled", "train grouped 8k", 60e3), row("hf 650M compiled", "train grouped 16k", 55e3),
    ]  # fmt: skip
    lines = {bar.work: str(bar) for bar in benchmark.bars(rows)}
    assert "3.667 | 3.75: missed" in lines["650M natural, times Hugging Face random"]
    assert "1.833 | 2: missed" in lines["650M natural, times Hugging Face grouped"]
    assert "101,000 | 100,000: met | 108,000: missed" in lines["650M natural, torch's FlashAttention 2, tokens/s"]
    assert "not measured" in lines["3B natural, share of the ceiling"]


def test_the_plan_fits_its_calls_and_calls_are_resumed(benchmark: ModuleType, tmp_path: Path) -> None:
    total = sum(benchmark.COMPETITORS.values()) + 3 * benchmark.CEILING_SECONDS
    assert total <= 25 * 60
    assert benchmark.plan(list(benchmark.COMPETITORS), 570).count("call ") == 3
    out = tmp_path / "rows.json"
    command = [sys.executable, SCRIPT, "--rehearse", "--rows", "hf 8M eager", "--out", out]
    first = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    content = json.loads(out.read_text())
    assert content["done"] == ["hf 8M eager"]
    assert len(content["rows"]) == 4
    assert not any(math.isnan(row["tokens_per_s"]) for row in content["rows"])
    assert "| 8M | natural | hf eager | train random |" in first.stdout
    again = subprocess.run([*command, "--plan"], check=True, capture_output=True, text=True, timeout=300)
    assert "hf 8M eager" not in again.stdout
