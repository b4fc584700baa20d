# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from bionemo.core.errors import ConfigError
from bionemo.testing.import_check import (
    forbidden_in_tier,
    import_check,
    import_in_fresh_interpreter,
    list_modules,
)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder with a package whose modules have the faults to be found."""
    folder = tmp_path_factory.mktemp("path")
    nested = folder / "crate" / "inner"
    nested.mkdir(parents=True)
    (folder / "crate" / "__init__.py").write_text("")
    (nested / "__init__.py").write_text("raise RuntimeError('never imported by looking')\n")
    (nested / "leaf.py").write_text("")
    (folder / "crate" / "light.py").write_text("import json\n")
    (folder / "crate" / "heavy.py").write_text("import pandas_like.core\n")
    (folder / "crate" / "rude.py").write_text("import os\nos.environ['CRATE'] = '1'\nprint('hello')\n")
    (folder / "crate" / "broken.py").write_text("import no_such_module_anywhere\n")
    (folder / "crate" / "slow.py").write_text("import time\ntime.sleep(0.2)\n")
    (folder / "pandas_like").mkdir()
    (folder / "pandas_like" / "__init__.py").write_text("")
    (folder / "pandas_like" / "core.py").write_text("")
    return folder


@pytest.fixture
def on_path(package, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(package))
    monkeypatch.syspath_prepend(str(package))


@pytest.mark.usefixtures("on_path")
def test_modules_are_found_without_being_imported():
    names = ["crate", "crate.broken", "crate.heavy", "crate.inner", "crate.inner.leaf", "crate.light"]
    assert list_modules("crate") == [*names, "crate.rude", "crate.slow"]
    assert list_modules("crate.inner") == ["crate.inner", "crate.inner.leaf"]
    assert "bionemo.testing.import_check" in list_modules("bionemo.testing")
    with pytest.raises(ConfigError, match=r"crate\.nothing: no installed package"):
        list_modules("crate.nothing")


@pytest.mark.usefixtures("on_path")
def test_each_fault_is_told_with_its_module():
    modules = ["crate.light", "crate.heavy", "crate.rude", "crate.broken", "crate.slow"]
    with pytest.raises(AssertionError) as caught:
        import_check(modules, tier=0, forbidden=["pandas_like"], budget_s=0.2)
    lines = str(caught.value).splitlines()
    assert lines[:4] == [
        "crate.heavy: loads pandas_like, which tier 0 must not",
        "crate.rude: changes the environment: CRATE",
        "crate.rude: prints 'hello\\n'",
        "crate.broken: ModuleNotFoundError: No module named 'no_such_module_anywhere'",
    ]
    assert lines[4].startswith("0.2")
    assert "slowest: crate.slow 0.2" in lines[4]


@pytest.mark.usefixtures("on_path")
def test_records_of_clean_modules():
    records = import_check(["crate.light", "crate.slow"], tier=0)
    assert [record.module for record in records] == ["crate.light", "crate.slow"]
    assert records[1].seconds > 0.2 > records[0].seconds
    assert "crate" in records[0].loaded


def test_tiers_forbid_what_is_heavier():
    assert "torch" in forbidden_in_tier(0)
    assert not {"torch", "numpy"} & set(forbidden_in_tier(1))
    assert "lightning" in forbidden_in_tier(1)
    assert not {"lightning", "megatron"} & set(forbidden_in_tier(2))
    assert "nemo" in forbidden_in_tier(2)
    assert "nemo" not in forbidden_in_tier(3)
    with pytest.raises(ConfigError, match="Import tier 4"):
        forbidden_in_tier(4)


def test_the_interpreter_sees_no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    records = import_in_fresh_interpreter(["json"])
    assert records[0].error is None
    assert records[0].environ == ()


NEED_TORCH_OR_LIGHTNING = {
    f"bionemo.testing.{name}"
    for name in (
        *("callbacks", "equal_weights", "exact_attention", "harnesses.stop_and_go", "megatron_on_cpu"),
        "testing_callbacks",
    )
}


def test_this_package_is_light_but_for_modules_with_classes_and_operators_of_heavy_ones():
    # bionemo.testing is banned from other packages' imports, and pytest with it; here they are the subject.
    modules = list_modules("bionemo.testing")
    assert set(modules) > NEED_TORCH_OR_LIGHTNING
    records = import_in_fresh_interpreter([module for module in modules if module not in NEED_TORCH_OR_LIGHTNING])
    heavy = set(forbidden_in_tier(0)) - {"bionemo.testing", "pytest"}
    for record in records:
        assert record.error is None, record
        assert not heavy & set(record.loaded), record.module
        assert (record.said, record.environ) == ("", ())
    assert sum(record.seconds for record in records) < 3
