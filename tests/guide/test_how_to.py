"""The code on the how-to pages runs, page by page, as whoever reads a page would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "guide" / "how-to").glob("*.md"))
OPTIONS = re.compile(
    r"\A---\n.*?^---\n|^:[^\n]*\n", flags=re.DOTALL | re.MULTILINE
)  # a block, or lines, that begin a cell
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


def code_of(page):
    """Return the cells of a page, without the options that begin some of them."""
    return "\n".join(OPTIONS.sub("", cell) for cell in CELL.findall(page.read_text("utf-8")))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if code_of(page)], ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page, tmp_path):
    surroundings = {**os.environ, "MPLBACKEND": "Agg", "FIRSTLIGHT_PROGRESS": "off"}
    ran = subprocess.run(
        [sys.executable, "-c", code_of(page)],
        check=False,
        cwd=tmp_path,
        env=surroundings,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
