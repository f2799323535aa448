"""`firstlight guide` writes notebooks that are whole, the same every time, and never over somebody's work."""

import json
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

from firstlight.cli import main
from firstlight.delivery.notebooks import read_chapter, write_notebooks
from firstlight.errors import DataError, UserError

REPOSITORY = Path(__file__).parents[2]


def test_nine_valid_notebooks_without_output(tmp_path):
    written = write_notebooks(tmp_path / "a" / "b")
    assert len(written) == 9
    for path in written:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert notebook.metadata.kernelspec.name == "python3"
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert code and not any(cell.outputs or cell.execution_count for cell in code)
        script = (REPOSITORY / "guide" / f"{path.stem}.py").read_text("utf-8")
        lines = [line for cell in code for line in cell.source.splitlines() if line.strip()]
        kept = [line for line in script.splitlines() if line.strip() and not line.startswith("# ")]
        assert [line for line in lines if not line.startswith("# ")] == [line for line in kept if line != "#"]


def test_the_title_of_a_cell_is_its_first_line(tmp_path):
    notebook = nbformat.read(write_notebooks(tmp_path)[0], as_version=4)
    titled = [cell for cell in notebook.cells if cell.metadata.get("title")]
    assert len(titled) > 5
    assert all(cell.source.startswith(f"# {cell.metadata['title']}\n") for cell in titled)


def test_twice_is_the_same_to_the_byte(tmp_path):
    one, two = (write_notebooks(tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_solution_is_folded_in_jupyter_too():
    notebook = read_chapter((REPOSITORY / "guide" / "01_introduction.py").read_text("utf-8"))
    folded = [cell for cell in notebook.cells if "hide-cell" in cell.metadata.get("tags", [])]
    assert folded and all(cell.metadata["jupyter"] == {"source_hidden": True} for cell in folded)


def test_work_that_is_there_is_not_written_over(tmp_path):
    mine = tmp_path / "04_training.ipynb"
    mine.write_text("mine")
    with pytest.raises(DataError, match=r"04_training.ipynb exists already"):
        write_notebooks(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["04_training.ipynb"] and mine.read_text() == "mine"


def test_what_else_is_in_the_folder_stays(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write_notebooks(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("absent", ["jupytext", "nbformat"])
def test_without_what_makes_notebooks_one_line_says_what_to_install(absent, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(UserError, match=r"pip install 'firstlight\[guide\]'"):
        write_notebooks(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["guide"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == "firstlight-guide/01_introduction.ipynb"
    assert "jupyter lab firstlight-guide" in shown.err
    assert main(["guide"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["guide", "other", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["notebooks"]) == 9


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["guide", str(tmp_path / "file" / "below")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_installed_package_carries_every_chapter():
    wheel = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"][
        "wheel"
    ]
    chapters = sorted(path.name for path in (REPOSITORY / "guide").glob("[0-9]*.py"))
    assert wheel["force-include"] == {f"guide/{name}": f"firstlight/guide/{name}" for name in chapters}
