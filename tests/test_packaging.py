"""The package as others get it: a README that stands alone, typed, with the guide, and a gate that CI runs."""

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


def test_the_readme_of_the_package_has_no_link_that_leads_nowhere():
    text = (REPOSITORY / "README.md").read_text("utf-8")
    for change in PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(change["pattern"], change["replacement"], text)
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert all(link.startswith(("https://", "http://", "#")) for link in links), links


def test_the_package_is_typed_and_holds_every_chapter():
    assert (REPOSITORY / "src" / "firstlight" / "py.typed").is_file()
    chapters = {f"guide/{path.name}" for path in (REPOSITORY / "guide").glob("[0-9]*.py")}
    assert chapters == set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"])


def test_continuous_integration_runs_the_gate():
    steps = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert re.search(r"run: \.ci/run\n", steps)
