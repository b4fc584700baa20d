# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Every module imports without a GPU, and drags in no more than its place allows."""

import pytest

from bionemo.testing.import_check import forbidden_in_tier, import_check, import_in_fresh_interpreter, list_modules


TIER_0 = (  # standard library, numpy, pydantic: commands may import these before they parse
    "bionemo.llm",
    "bionemo.llm.data",
    "bionemo.llm.data.hashed_draws",
    "bionemo.llm.data.label2id_tokenizer",
    "bionemo.llm.training.loss_plot",
    "bionemo.llm.training.metrics_csv",
    "bionemo.llm.model",
    "bionemo.llm.model.biobert",
    "bionemo.llm.training.third_party_warnings",
    "bionemo.llm.checkpoints.json_files",
    "bionemo.llm.training.parallel_config",
    "bionemo.llm.training.config",
    "bionemo.llm.training.ranks",
    "bionemo.llm.training.ranks.launch",
    "bionemo.llm.training.ranks.lost_ranks",
    "bionemo.llm.training.run_directory",
    "bionemo.llm.scripts",
    "bionemo.llm.scripts.consolidate_checkpoint",
    "bionemo.llm.utils",
    "bionemo.llm.utils.datamodule_utils",
    "bionemo.llm.utils.iomixin_utils",
    "bionemo.llm.utils.logger_utils",
    "bionemo.llm.utils.remote",
)
TIER_1 = (  # + torch
    "bionemo.llm.data.batch_collation",
    "bionemo.llm.checkpoints.empty_model",
    "bionemo.llm.checkpoints.hf_directory",
    "bionemo.llm.checkpoints.forms",
    "bionemo.llm.checkpoints.hf_names",
    "bionemo.llm.checkpoints.hub",
    "bionemo.llm.checkpoints.lazy_tensors",
    "bionemo.llm.checkpoints.model_card",
    "bionemo.llm.checkpoints.model_source",
    "bionemo.llm.checkpoints.weight_files",
    "bionemo.llm.data.collate",
    "bionemo.llm.data.masking",
    "bionemo.llm.data.pack_loaders",
    "bionemo.llm.data.packing",
    "bionemo.llm.data.types",
    "bionemo.llm.checkpoints.layouts",
    "bionemo.llm.checkpoints.hf_tensors",
    "bionemo.llm.model.biobert.config",
    "bionemo.llm.model.config",
    "bionemo.llm.model.layers",
    "bionemo.llm.model.loss",
    "bionemo.llm.model.lr_scheduler",
    "bionemo.llm.model.device_placement",
    "bionemo.llm.model.recompute",
    "bionemo.llm.model.rotary",
    "bionemo.llm.training.optimizer",
    "bionemo.llm.training.ranks.deferred_init",
    "bionemo.llm.training.ranks.memory",
    "bionemo.llm.training.ranks.restarts",
    "bionemo.llm.training.ranks.sharded_model",
    "bionemo.llm.checkpoints.shards",
    "bionemo.llm.checkpoints.training_state",
    "bionemo.llm.utils.weight_utils",
)
ALL = list_modules("bionemo.llm")
# + lightning and megatron.core: whatever is named in no lighter tier. NeMo's one door is above all three.
TIER_2 = tuple(name for name in ALL if name not in {*TIER_0, *TIER_1} and not name.startswith("bionemo.llm.megatron."))


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
