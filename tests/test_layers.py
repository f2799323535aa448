"""The floors of the house hold, nothing heavy happens at import, and the public names are the ones we promise."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import firstlight

REPOSITORY = Path(__file__).parents[1]
HEAVY = {"torch", "torchvision", "timm", "numpy", "PIL", "sklearn", "matplotlib", "pyarrow", "scipy"}
PUBLIC = [
    "Classifier",
    "Evaluation",
    "Inspection",
    "Prediction",
    "Recipe",
    "Run",
    "Samples",
    "UserError",
    "confusion_matrix",
    "evaluate",
    "train",
    "imshow",
    "inspect",
    "inspect_model",
    "load",
    "load_data",
    "mistakes_grid",
    "image_grid",
    "predict",
    "save",
    "training_curves",
    "view_classify",
]


def lint_imports(repository):
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(repository / "src")}
    return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)


def test_a_room_imports_only_from_floors_below_it():
    told = lint_imports(REPOSITORY)
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize(
    ("below", "above"), [("errors", "files"), ("data.samples", "models.networks"), ("evaluation.metrics", "cli")]
)
def test_the_contract_would_notice_an_import_the_wrong_way(below, above, tmp_path):
    shutil.copytree(REPOSITORY / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    module = tmp_path / "src" / "firstlight" / f"{below.replace('.', '/')}.py"
    module.write_text(module.read_text("utf-8") + f"\nimport firstlight.{above}\n", "utf-8")
    told = lint_imports(tmp_path)
    assert told.returncode == 1
    assert f"firstlight.{below} -> firstlight.{above}" in told.stdout


def modules_after(code):
    """The top-level modules that a fresh interpreter has after running `code`."""
    code = f"import contextlib, sys\n{code}\nsys.stderr.write(' '.join(name.partition('.')[0] for name in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stderr.split()), ran.stdout


def test_importing_firstlight_imports_nothing_heavy():
    modules, _ = modules_after("import firstlight; firstlight.__all__; dir(firstlight); firstlight.UserError")
    assert "firstlight" in modules
    assert not modules & HEAVY


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["evaluate", "-h"], ["predict", "-h"], ["check", "-h"]]
)
def test_help_imports_nothing_heavy(words):
    code = f"from firstlight.cli import main\nwith contextlib.suppress(SystemExit): main({words})"
    modules, shown = modules_after(code)
    assert "usage: firstlight" in shown
    assert not modules & HEAVY


def test_the_public_names_are_pinned():
    assert firstlight.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(firstlight))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_loaded_and_is_documented(name):
    value = getattr(firstlight, name)
    assert value.__module__.startswith("firstlight.")
    assert value.__doc__.strip()


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'firstlight' has no attribute 'trian'"):
        firstlight.trian  # noqa: B018 - looking it up is the test
