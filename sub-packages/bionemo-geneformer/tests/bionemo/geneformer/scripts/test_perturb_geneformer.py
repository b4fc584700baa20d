# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import pytest

from bionemo.core._config_parser import build_parser
from bionemo.core.config import parse
from bionemo.core.errors import ConfigError
from bionemo.geneformer.perturbation.config import PerturbGeneformerConfig, check_flags


FLAGS = """
--counts-layer --feature-type
--accelerator --allow-fractional-counts --alt-states --anchor-gene --checkpoint
--checkpoint-path --config --compile --cosine --data-path
--debug --version --devices --embedding --filter-cells
--gene-column --gene-cosines --gene-mapping --gene-medians --gene-names
--genes --goal-state --help --id-column --layer --max-cells --max-fdr --min-coverage --min-detections
--no-allow-fractional-counts --no-compile --no-gene-cosines --null-shifts-path --num-gpus --num-nodes --perturb-type
--precision --rank-shift --results-path --seed --shifts-path --start-state --state-average --state-key --statistics
--token-dictionary --tokens-per-batch -h
""".split()
NEEDED = ["--checkpoint-path=model", "--data-path=cells", "--results-path=out"]
STATES = ["--state-key=s", "--start-state=a", "--goal-state=b"]


def test_flags_are_these() -> None:
    assert sorted(build_parser(PerturbGeneformerConfig).flags) == sorted(FLAGS)


@pytest.mark.parametrize(
    "arguments",
    [
        [*NEEDED],
        [*NEEDED, "--perturb-type=inhibit", "--rank-shift=2", "--genes", "A", "B"],
        [*NEEDED, *STATES, "--alt-states", "c", "d", "--statistics=goal_state_shift"],
        [*NEEDED, "--anchor-gene=A", "--statistics=mixture_model"],
        [*NEEDED, "--genes=A", "--statistics=aggregate_data"],
        ["--results-path=out", "--shifts-path=a", "--null-shifts-path=b"],
        ["--results-path=out", "--shifts-path=a", "--max-fdr=0.1"],
        ["--results-path=out", "--shifts-path=a", "--no-gene-cosines", "--max-cells=None"],
    ],
)
def test_settings_that_fit_together(arguments: list[str]) -> None:
    check_flags(parse(PerturbGeneformerConfig, arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--results-path=out"],
            "--checkpoint-path and --data-path: required to perturb cells; or give --shifts-path",
        ),
        ([*NEEDED, "--perturb-type=activate"], "--rank-shift None: activate needs 1, 2 or 3 quartiles"),
        ([*NEEDED, "--rank-shift=1"], "--rank-shift: belongs to inhibit and activate, not to delete"),
        ([*NEEDED, "--genes"], "--genes: none given. Name genes, or all"),
        ([*NEEDED, "--genes", "all", "A"], "--genes: all stands alone"),
        ([*NEEDED, "--genes=A", "--anchor-gene=B"], "--anchor-gene: pairs it with every other gene"),
        ([*NEEDED, "--state-key=s"], "--start-state and --goal-state: missing; states need"),
        ([*NEEDED, "--alt-states=c"], "--state-key and --start-state and --goal-state: missing"),
        ([*NEEDED, *STATES, "--cosine=genes"], "--cosine: has no effect with states"),
        ([*NEEDED, "--cosine=genes", "--embedding=cls"], "--cosine genes: is a mean over genes"),
        ([*NEEDED, "--state-average=median"], "--state-average: has no effect without states"),
        ([*NEEDED, "--statistics=goal_state_shift"], "--statistics goal_state_shift: needs --state-key"),
        ([*NEEDED, "--statistics=mixture_model", "--genes=A"], "--statistics mixture_model: needs --genes all"),
        ([*NEEDED, "--statistics=aggregate_data"], "--statistics aggregate_data: needs a group of --genes"),
        ([*NEEDED, "--statistics=vs_null"], "--statistics vs_null: compares two finished results"),
        ([*NEEDED, "--shifts-path=a"], "--checkpoint-path: has no effect with --shifts-path"),
        (["--results-path=o", "--shifts-path=a", "--layer=0"], "--layer: has no effect with --shifts-path"),
        (["--results-path=o", "--shifts-path=a", "--statistics=none"], "--statistics none: leaves nothing to do"),
        (
            ["--results-path=o", "--shifts-path=a", "--statistics=vs_null"],
            "--statistics vs_null and --null-shifts-path: belong together",
        ),
        ([*NEEDED, "--max-cells=0"], "--max-cells 0: must be at least 1"),
        ([*NEEDED, "--min-coverage=2"], "--min-coverage 2.0: must lie between 0 and 1"),
        ([*NEEDED, "--max-fdr=2"], "--max-fdr 2.0: must lie between 0 and 1"),
        ([*NEEDED, "--min-detections=-1"], "--min-detections -1: must not be negative"),
    ],
)
def test_impossible_combinations_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_flags(parse(PerturbGeneformerConfig, arguments))
    assert str(caught.value).startswith(message)
