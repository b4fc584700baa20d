# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""What packages declare against what they import."""

import subprocess
import sys
from pathlib import Path

import pytest

from bionemo.core.errors import FormatError, MissingDependencyError


pytest.importorskip("bionemo.fw", reason="bionemo-fw needs NeMo and is installed in .venv-nemo only")
pytestmark = pytest.mark.nemo_env

from bionemo.fw.dependency_graph import (  # noqa: E402 behind the skip
    build_dependency_graph,
    find_bionemo_subpackages,
    find_differences,
    main,
    parse_dependencies,
    resolve_dependencies,
    visualize_dependency_graph,
)


CHECKOUT = Path(__file__).resolve().parents[5]


def package(base_dir, name, dependencies, source="", *, tail=""):
    """Write a package with one module; returns its folder's name."""
    folder = base_dir / name
    (folder / "src/bionemo").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\ndependencies = {dependencies}\n{tail}')
    (folder / "src/bionemo/module.py").write_text(source)
    return name


@pytest.mark.parametrize(
    ("dependencies", "expected"),
    [
        ('["bionemo-core", "numpy>=1.26"]', {"bionemo-core": "unpinned"}),
        ('["bionemo-core>=2.4,<3"]', {"bionemo-core": "<3,>=2.4"}),
        ('["bionemo-llm[nemo]==1.0"]', {"bionemo-llm": "==1.0"}),
        ("[\"BioNeMo_SCDL ~= 0.1 ; python_version < '3.13'\"]", {"bionemo-scdl": "~=0.1"}),
        ('["bionemo-example_model==3.0.0"]', {"bionemo-example-model": "==3.0.0"}),
        ('["mybionemo-core", "bionemo"]', {}),
        ("[]", {}),
        (
            '{"bionemo-core" = "2.*", "Bionemo_LLM" = ">=3", numpy = "1"}',
            {"bionemo-core": "2.*", "bionemo-llm": ">=3"},
        ),
    ],
)
def test_dependencies_are_read_as_requirements(tmp_path, capsys, dependencies, expected):
    package(tmp_path, "bionemo-x", dependencies)
    assert parse_dependencies(str(tmp_path / "bionemo-x/pyproject.toml")) == ("bionemo-x", expected)
    assert capsys.readouterr().out == ""


def test_optional_dependencies_count_on_request(tmp_path):
    extra = '[project.optional-dependencies]\nall = ["bionemo-llm[nemo]==3.0.0", "bionemo-core<9", "torch"]\n'
    package(tmp_path, "bionemo-x", '["bionemo-core==3.0.0"]', tail=extra)
    path = tmp_path / "bionemo-x/pyproject.toml"
    assert parse_dependencies(path)[1] == {"bionemo-core": "==3.0.0"}
    assert parse_dependencies(path, extras=True)[1] == {"bionemo-core": "==3.0.0", "bionemo-llm": "==3.0.0"}


def test_missing_name_and_dependencies_are_told(tmp_path, capsys):
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.x]\n")
    assert parse_dependencies(path) == (None, {})
    assert capsys.readouterr().out == (
        f"Warning: Could not find package name in {path}\nWarning: Could not find dependencies in {path}\n"
    )


@pytest.mark.parametrize("text", ["[project", '[project]\nname = "x"\ndependencies = ["bionemo-core=3"]'])
def test_a_damaged_file_is_named(tmp_path, text):
    path = tmp_path / "pyproject.toml"
    path.write_text(text)
    with pytest.raises(FormatError, match=f"^{path}: "):
        parse_dependencies(path)


def test_graph_leaves_out_packages_without_name(tmp_path):
    names = [package(tmp_path, "bionemo-a", '["bionemo-b==1"]'), package(tmp_path, "bionemo-b", "[]")]
    (tmp_path / "nameless").mkdir()
    (tmp_path / "nameless/pyproject.toml").write_text("[project]\ndependencies = []\n")
    graph = build_dependency_graph(str(tmp_path), [*names, "nameless"])
    assert graph == {"bionemo-a": {"bionemo-b": "==1"}, "bionemo-b": {}}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import bionemo.core.errors", {"bionemo-core"}),
        ("import numpy, bionemo.llm", {"bionemo-llm"}),
        ("from bionemo.core.data import load", {"bionemo-core"}),
        ("from bionemo import core, esm2", {"bionemo-core", "bionemo-esm2"}),
        ("def f():\n    x = 1; import bionemo.scdl.io", {"bionemo-scdl"}),
        ("import importlib\nimportlib.import_module('bionemo.llm.megatron')", {"bionemo-llm"}),
        ("from importlib import import_module\nimport_module('bionemo.llm')", {"bionemo-llm"}),
        ("import bionemo.x.part\nfrom bionemo.x import part\nimport bionemo", set()),
        ("'''\nimport bionemo.core\n'''\n# import bionemo.llm\nimport bionemology.core", set()),
        ("def broken(:\n  import bionemo.core\nfrom bionemo.llm import x", {"bionemo-core", "bionemo-llm"}),
        ("import bionemo.core\n\0", {"bionemo-core"}),
    ],
)
def test_imports_are_found(tmp_path, source, expected):
    package(tmp_path, "bionemo-x", "[]", source)
    assert find_bionemo_subpackages(str(tmp_path), ["bionemo-x"]) == {"bionemo-x": expected}


def test_a_package_with_an_underscore_does_not_import_itself(tmp_path):
    package(tmp_path, "bionemo-example_model", "[]", "import bionemo.example_model.digits, bionemo.core")
    assert find_bionemo_subpackages(tmp_path, ["bionemo-example_model"]) == {"bionemo-example_model": {"bionemo-core"}}


def test_unreadable_files_are_told_and_passed_over(tmp_path, capsys):
    package(tmp_path, "bionemo-x", "[]", "import bionemo.core")
    path = tmp_path / "bionemo-x/src/bionemo/latin.py"
    path.write_bytes(b"# gr\xfc\xdfe")
    assert find_bionemo_subpackages(tmp_path, ["bionemo-x"]) == {"bionemo-x": {"bionemo-core"}}
    assert capsys.readouterr().out.startswith(f"Error reading file {path}: 'utf-8' codec can't decode")


@pytest.mark.parametrize("values", [list, dict.fromkeys])
def test_dependencies_of_dependencies(values):
    direct = {"a": ["b", "c-c"], "b": ["d"], "c_c": ["e"], "e": ["a"], "f": ["g"]}
    graph = {name: values(dependencies) for name, dependencies in direct.items()}
    assert resolve_dependencies("f", graph) == {"g"}
    assert resolve_dependencies("b", graph) == {"d"}
    assert resolve_dependencies("a", graph) == {"a", "b", "c-c", "d", "e"}
    assert resolve_dependencies("unknown", graph) == set()
    assert resolve_dependencies("a", graph, resolved={"z"}, seen={"c-c"}) == {"b", "c-c", "d", "z"}


def test_differences(tmp_path):
    directories = [
        package(tmp_path, "bionemo-core", "[]"),
        package(tmp_path, "bionemo-llm", '["bionemo-core"]', "import bionemo.core, bionemo.example_model"),
        package(tmp_path, "bionemo-esm2", '["bionemo-llm", "bionemo-core"]', "import bionemo.llm, bionemo.scdl"),
        package(tmp_path, "bionemo-example_model", '["bionemo-llm"]', "import bionemo.core, bionemo.llm"),
        package(tmp_path, "bionemo-fw", '["bionemo-core", "bionemo-esm2"]'),
    ]
    assert list(find_differences(tmp_path, directories)) == [
        "bionemo-llm: imports bionemo-example_model, which its dependencies do not bring",
        "bionemo-esm2: imports bionemo-scdl, which its dependencies do not bring",
        "bionemo-esm2: depends on bionemo-core, which nothing in it imports",
    ]


def test_command_reports_differences_and_draws_only_on_request(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package(tmp_path / "sub-packages", "bionemo-core", "[]", "import bionemo.llm")
    assert main([]) == 1
    assert capsys.readouterr().out == "bionemo-core: imports bionemo-llm, which its dependencies do not bring\n"
    assert [path.name for path in tmp_path.iterdir()] == ["sub-packages"]
    assert main(["--out", "graphs"]) == 1
    for name in ("declared.png", "imported.png"):
        assert (tmp_path / "graphs" / name).read_bytes().startswith(b"\x89PNG")


def test_command_on_this_checkout(tmp_path):
    command = [sys.executable, "-m", "bionemo.fw.dependency_graph"]
    done = subprocess.run([*command, "--base-dir", str(CHECKOUT)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--base-dir .: no sub-packages/*/pyproject.toml below it." in done.stderr


def test_picture(tmp_path, monkeypatch):
    import matplotlib.pyplot as plt
    import networkx

    labels = []
    draw_labels = networkx.draw_networkx_edge_labels
    monkeypatch.setattr(
        networkx, "draw_networkx_edge_labels", lambda *args, **kwargs: labels.append(draw_labels(*args, **kwargs))
    )
    graph = {"bionemo-a_b": {}, "bionemo-c": {"bionemo-a-b": "==3"}, "bionemo-d": ["bionemo-c"], "alone": []}
    visualize_dependency_graph(graph, tmp_path / "graph.svg")
    picture = (tmp_path / "graph.svg").read_text()
    assert all(f"<!-- {text} -->" in picture for text in (*graph, "==3"))
    assert "bionemo-a-b" not in picture  # one package, one spelling
    assert list(labels[0]) == [("bionemo-a_b", "bionemo-c")]
    assert plt.get_fignums() == []


def test_picture_without_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'bionemo-fw\[graph\]'"):
        visualize_dependency_graph({}, tmp_path / "graph.png")
