"""The floors of the house hold, nothing heavy happens at import, and the public names are the ones we promise."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import firstlight

REPOSITORY = Path(__file__).parents[1]
HEAVY = {"torch", "torchvision", "timm", "numpy", "PIL", "sklearn", "matplotlib", "pyarrow", "scipy", "optuna", "ray"}
PUBLIC = [
    "Augment",
    "CheckReport",
    "Classifier",
    "Comparison",
    "DataRecipe",
    "Dataset",
    "Evaluation",
    "Exported",
    "Heatmap",
    "Heatmaps",
    "Loader",
    "ModelRecipe",
    "Packed",
    "Prediction",
    "Predictions",
    "Predictor",
    "Recipe",
    "RecipeComparison",
    "Run",
    "Samples",
    "Search",
    "UserError",
    "Verified",
    "check",
    "compare",
    "compare_recipes",
    "confusion_matrix",
    "evaluate",
    "evaluate_logits",
    "explain",
    "export",
    "image_grid",
    "imshow",
    "load",
    "load_data",
    "load_run",
    "metrics",
    "mistakes_grid",
    "open_dataset",
    "pack",
    "predict",
    "read_model_card",
    "report",
    "save",
    "serve",
    "show_batch",
    "split",
    "train",
    "training_curves",
    "tune",
    "verify_export",
    "view_classify",
]


PLANTED = {"errors": "files", "data.samples": "models.classifier", "evaluation.metrics": "cli"}


def test_the_contracts_would_notice_imports_the_wrong_way(tmp_path):
    """On a copy with planted faults; `scripts/check` holds the house itself to the contracts."""
    shutil.copytree(REPOSITORY / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    for below, above in PLANTED.items():
        module = tmp_path / "src" / "firstlight" / f"{below.replace('.', '/')}.py"
        module.write_text(module.read_text("utf-8") + f"\nimport firstlight.{above}\n", "utf-8")
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    for below, above in PLANTED.items():
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


def test_help_imports_nothing_heavy():
    code = """
from firstlight.cli import main
main(["--help"])
for command in ("train", "tune", "evaluate", "predict", "check", "explain", "report", "export", "pack"):
    main([command, "-h"])
"""
    modules, shown = modules_after(code)
    assert shown.count("Usage: firstlight") == 10
    assert not modules & HEAVY


def test_the_public_names_are_pinned():
    assert firstlight.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(firstlight))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_loaded_and_is_documented(name):
    value = getattr(firstlight, name)
    home = value.__name__ if isinstance(value, ModuleType) else value.__module__
    assert home.startswith("firstlight.")
    assert value.__doc__.strip()


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'firstlight' has no attribute 'trian'"):
        firstlight.trian  # noqa: B018 - looking it up is the test
