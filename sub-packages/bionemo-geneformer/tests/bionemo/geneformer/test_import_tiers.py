# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Every module imports without a GPU, and drags in no more than its place allows."""

import pytest

from bionemo.testing.import_check import forbidden_in_tier, import_check, import_in_fresh_interpreter, list_modules


ALL = list_modules("bionemo.geneformer")
TIER_0 = (  # standard library, numpy: commands may import these before they parse
    *(name for name in ALL if name.startswith(("bionemo.geneformer.scripts", "bionemo.geneformer.tokenizer"))),
    "bionemo.geneformer",
    "bionemo.geneformer.data",
    "bionemo.geneformer.data.arrow_dataset",
    "bionemo.geneformer.data.tokenized_cells",
    "bionemo.geneformer.data.counts",
    "bionemo.geneformer.data.dictionaries",
    "bionemo.geneformer.data.gene_mapping",
    "bionemo.geneformer.data.medians",
    "bionemo.geneformer.data.rank_encoding",
    "bionemo.geneformer.embedding",
    "bionemo.geneformer.evaluation",
    "bionemo.geneformer.perturbation",
    "bionemo.geneformer.perturbation.edits",
    "bionemo.geneformer.perturbation.gene_naming",
    "bionemo.geneformer.perturbation.impact_mixture",
    "bionemo.geneformer.perturbation.rank_sum",
    "bionemo.geneformer.perturbation.settings",
    "bionemo.geneformer.perturbation.shift_table",
    "bionemo.geneformer.perturbation.volcano",
)
TIER_1 = (  # + torch, scipy
    "bionemo.geneformer.data.corpus",
    "bionemo.geneformer.data.tokenize_on_read",
    "bionemo.geneformer.data.count_sources",
    "bionemo.geneformer.data.open_cells",
    "bionemo.geneformer.data.packed_cells",
    "bionemo.geneformer.data.singlecell.dataset",
    "bionemo.geneformer.data.write_tokenized",
)
TIER_2 = tuple(name for name in ALL if name not in {*TIER_0, *TIER_1})


@pytest.mark.parametrize(("tier", "modules"), [(0, TIER_0), (1, TIER_1)], ids=["0", "1"])
def test_light_modules_stay_in_their_tier(tier, modules):
    assert set(modules) <= set(ALL)
    import_check(modules, tier=tier)


def test_all_other_modules_import_and_leave_nemo_alone():
    # Lightning sets environment variables when it is imported: it comes first, so that only ours are looked at.
    _, *records = import_in_fresh_interpreter(["lightning.pytorch", *TIER_2])
    assert [record.module for record in records] == list(TIER_2)
    for record in records:
        assert (record.module, record.error, record.said, record.environ) == (record.module, None, "", ())
        heavy = {name for name in record.loaded if name.split(".")[0] in forbidden_in_tier(2)}
        assert not heavy, record.module
