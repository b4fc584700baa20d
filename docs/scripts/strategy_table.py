# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Print the decision table of the page about several GPUs: what `--strategy auto` chooses, and the memory it predicts.

With ``--write`` it is put into ``docs/docs/user-guide/multi-gpu.md``.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from bionemo.esm2.model.model import esm2_config
from bionemo.esm2.model.sizes import ESM2_SIZES
from bionemo.llm.training.ranks.memory import GIB, USABLE, StepShape, choose_strategy


PAGE = Path(__file__).parents[1] / "docs/user-guide/multi-gpu.md"
BEGIN, END = "<!-- strategy table: docs/scripts/strategy_table.py -->\n", "<!-- end of the strategy table -->\n"
NUM_GPUS = (1, 2, 4, 8, 16)
DEVICES = {"80 GB": 79.1, "141 GB": 139.8}
"""Memory that torch reports of an H100 or A100, and of an H200, in GiB."""
VOCABULARY = 33
LIGHTER = (
    ("", {}),
    ("`--recompute full`", {"recompute": "full"}),
    ("`--recompute full --tokens-per-batch 8192`", {"recompute": "full", "tokens": 8_192}),
)


def cell(size: str, num_gpus: int, capacity_gib: float) -> str:
    """Return what is chosen for a size, with the first of the lighter settings that fits."""
    base = StepShape(tokens=32_768, num_ranks=num_gpus)
    for name, changes in LIGHTER:
        step = replace(base, **changes)
        plan, _ = choose_strategy("auto", esm2_config(size), VOCABULARY, step, capacity_gib * GIB)
        if plan.total <= USABLE * capacity_gib * GIB:
            chosen = "one GPU" if plan.strategy == "single" else plan.strategy
            return f"{chosen} {plan.total / GIB:.1f}" + (f" with {name}" if name else "")
    return "does not fit"


def table() -> str:
    """Return the table in Markdown."""
    lines = [
        f"| model | memory of a GPU | {' | '.join(f'{number} GPU' + 's' * (number > 1) for number in NUM_GPUS)} |",
        f"|---|---|{'---|' * len(NUM_GPUS)}",
    ]
    for size in ESM2_SIZES:
        for device, capacity_gib in DEVICES.items():
            cells = [cell(size, number, capacity_gib) for number in NUM_GPUS]
            lines.append(f"| {size} | {device} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def page_with_table(text: str) -> str:
    """Return the page's text with the table put between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


def main() -> None:
    """Print the table, or put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="change the page")
    if parser.parse_args().write:
        PAGE.write_text(page_with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table(), end="")


if __name__ == "__main__":
    main()
