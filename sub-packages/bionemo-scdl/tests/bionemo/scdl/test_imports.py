# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
from importlib.metadata import version

from bionemo.testing.import_check import import_check, list_modules


LIGHT = (
    "bionemo.scdl",
    "bionemo.scdl.schema",
    "bionemo.scdl.index",
    "bionemo.scdl.scripts",
    "bionemo.scdl.sampling.b",
    "bionemo.scdl.sampling.w",
    "bionemo.scdl.util.scdl_constants",
    "bionemo.scdl.util.memmap_utils",
    "bionemo.scdl.util.filecopyutil",
    "bionemo.scdl.util.async_worker_queue",
    "bionemo.scdl.io.conversion",
)


def is_light(module):
    return module == LIGHT[0] or module.startswith(LIGHT[1:])


def test_metadata_and_commands_import_neither_torch_nor_pandas():
    modules = [module for module in list_modules("bionemo.scdl") if is_light(module)]
    assert "bionemo.scdl.scripts.scdl_info" in modules
    import_check(modules, tier=0)


def test_the_rest_imports_torch_at_most_and_nothing_of_ours_but_core():
    others = [f"bionemo.{name}" for name in ("llm", "esm2", "geneformer", "example_model", "webdatamodule", "fw")]
    import_check(list_modules("bionemo.scdl"), tier=1, forbidden=("pandas", "anndata", "h5py", *others))


def test_the_installed_version_is_found_by_the_module_s_name():
    assert version("bionemo.scdl") == version("bionemo-scdl")
