# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Each package offers its main names itself, and importing it stays light."""

import importlib
import subprocess
import sys

import pytest


OFFERED = {
    "core": {"BIONEMO_CACHE_DIR", "load"},
    "esm2": {"load_esm2", "save_esm2", "TrainESM2Config"},
    "example_model": {"ExampleModel", "MNISTDataModule"},
    "geneformer": {"Geneformer", "load_geneformer"},
    "llm": {"BionemoLightningModule", "PretrainConfig", "consolidate"},
    "scdl": {"SingleCellMemMapDataset", "SingleCellCollection"},
    "webdatamodule": {"WebDataModule", "PickledDataWDS"},
}
HEAVY = ("anndata", "lightning", "megatron", "pandas", "pyarrow", "scipy", "torch", "transformers", "webdataset")


@pytest.mark.parametrize("package", OFFERED)
def test_a_package_offers_its_main_names(package: str) -> None:
    module = importlib.import_module(f"bionemo.{package}")
    assert set(module.__all__) >= OFFERED[package]
    for name in module.__all__:
        offered = getattr(module, name)
        if callable(offered):
            assert offered is getattr(sys.modules[offered.__module__], name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing


def test_importing_the_packages_is_light() -> None:
    code = f"import sys, {', '.join(f'bionemo.{name}' for name in OFFERED)}\n" + (
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n"
