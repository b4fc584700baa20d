# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest


SCRIPT = """# a header, no part of the notebook

# %% [markdown]
# # Title
#
# Some *text*.

# %%
x = 20
print("printed")
x + 1

# %%
from matplotlib import pyplot as plt

plt.plot([1, 2]);
"""


@pytest.fixture(scope="module")
def renderer() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "scripts" / "render_notebooks.py"
    spec = importlib.util.spec_from_file_location("render_notebooks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script_path(tmp_path: Path) -> Path:
    path = tmp_path / "tutorial.py"
    path.write_text(SCRIPT)
    return path


def test_cells_are_executed_and_their_outputs_kept(renderer: ModuleType, script_path: Path) -> None:
    assert renderer.main([str(script_path)]) == 0
    notebook = json.loads(script_path.with_suffix(".ipynb").read_text())
    text, code, drawing = notebook["cells"]
    assert "".join(text["source"]) == "# Title\n\nSome *text*."
    assert "".join(code["source"]) == 'x = 20\nprint("printed")\nx + 1'
    assert [output["output_type"] for output in code["outputs"]] == ["stream", "execute_result"]
    assert code["outputs"][0]["text"] == ["printed\n"]
    assert code["outputs"][1]["data"] == {"text/plain": ["21"]}
    (figure,) = drawing["outputs"]
    assert figure["data"]["image/png"].startswith("iVBORw0KGgo")  # base64 of a PNG's signature
    assert (code["execution_count"], drawing["execution_count"]) == (1, 2)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)


def test_check_passes_on_what_was_rendered_and_fails_on_what_changed(
    renderer: ModuleType, script_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert renderer.main([str(script_path), "--check"]) == 1
    renderer.main([str(script_path)])
    assert renderer.main([str(script_path), "--check"]) == 0
    script_path.write_text(SCRIPT.replace("x = 20", "x = 30"))
    assert renderer.main([str(script_path), "--check"]) == 1
    assert "tutorial.ipynb is out of date" in capsys.readouterr().err
    before = script_path.with_suffix(".ipynb").read_bytes()
    assert b'"21"' in before  # checking writes nothing


def test_a_failing_cell_names_itself_and_writes_nothing(renderer: ModuleType, script_path: Path) -> None:
    script_path.write_text("# %%\nx = 1\n# %%\n1 / 0\n")
    with pytest.raises(SystemExit, match=r'(?s)tutorial.py failed:.*"cell 2", line 1.*ZeroDivisionError'):
        renderer.main([str(script_path)])
    assert not script_path.with_suffix(".ipynb").exists()


def test_a_script_without_cells_says_how_to_begin_one(renderer: ModuleType, script_path: Path) -> None:
    script_path.write_text("print(1)\n")
    with pytest.raises(SystemExit, match=r"tutorial\.py has no cell; begin one with a line '# %%'"):
        renderer.main([str(script_path)])


def test_a_notebook_without_its_script_is_an_error(renderer: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"lost\.py does not exist; a notebook is written as a script"):
        renderer.main([str(tmp_path / "lost.py")])


def test_cells_run_in_an_empty_folder(renderer: ModuleType, script_path: Path) -> None:
    script_path.write_text("# %%\nfrom pathlib import Path\nlist(Path().iterdir())\n")
    notebook = renderer.render(script_path)
    assert notebook["cells"][0]["outputs"][0]["data"] == {"text/plain": ["[]"]}


def test_a_trained_model_does_not_depend_on_the_number_of_cores(
    renderer: ModuleType, script_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    script_path.write_text("# %%\nimport torch\ntorch.get_num_threads()\n")
    notebook = renderer.render(script_path)
    assert notebook["cells"][0]["outputs"][0]["data"] == {"text/plain": ["1"]}


def test_an_address_that_differs_in_every_run_is_refused(renderer: ModuleType, script_path: Path) -> None:
    script_path.write_text("# %%\n1\n# %%\nobject()\n")
    with pytest.raises(SystemExit, match=r"cell 2 shows '<object object at 0x\w+>'.* assign it to _"):
        renderer.main([str(script_path)])
    script_path.write_text("# %%\n1\n# %%\n_ = object()\n")
    assert renderer.main([str(script_path)]) == 0


def test_every_notebook_of_this_repository_has_the_cells_of_its_script(renderer: ModuleType) -> None:
    """What can be compared without running them; nightly, `--check` runs them and compares their outputs."""
    for path in renderer.scripts_beside_notebooks(renderer.ROOT):
        notebook = json.loads(path.with_suffix(".ipynb").read_text(encoding="utf-8"))
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
        assert cells == renderer.split_cells(path.read_text(encoding="utf-8"), path), path.name
        assert renderer.OBJECT_ADDRESS.search(json.dumps(notebook["cells"])) is None, path.name


def test_the_notebooks_of_this_repository_are_found(renderer: ModuleType) -> None:
    names = [path.name for path in renderer.scripts_beside_notebooks(renderer.ROOT)]
    assert "jupyter-notebooks.py" in names
