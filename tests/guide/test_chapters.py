"""The chapters run, with the real sets and without, teach in one form, and cover every idea of the notes."""

import csv
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from firstlight.delivery.notebooks import find_chapters, read_chapter

REPOSITORY = Path(__file__).parents[2]
CHAPTERS = {path.stem: path for path in sorted((REPOSITORY / "guide").glob("[0-9]*.py"))}
WITHOUT_SETS = "uses the digits of scikit-learn"  # what a chapter says where its real set is not there
WITH_REAL_SETS = [
    name for name, path in CHAPTERS.items() if f"so this chapter {WITHOUT_SETS}" in path.read_text("utf-8")
]
COVERAGE = list(csv.DictReader((REPOSITORY / "guide" / "coverage.csv").read_text("utf-8").splitlines()))
PATIENCE = 900  # seconds; a chapter takes under 60 on two quiet cores, and other programs may share them


def run(chapter: str, folder: Path, data_root: Path) -> str:
    """Run a chapter as a script in an empty folder; give what it prints."""
    environment = os.environ | {"FIRSTLIGHT_DATA": str(data_root), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", CHAPTERS[chapter]],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    "chapter",
    [pytest.param(name, marks=pytest.mark.slow) if name in WITH_REAL_SETS else name for name in CHAPTERS],
)
def test_a_chapter_runs_with_nothing_but_the_library(chapter, tmp_path):
    said = run(chapter, tmp_path, tmp_path / "no sets")
    assert (WITHOUT_SETS in said) == (chapter in WITH_REAL_SETS)


@pytest.mark.slow
@pytest.mark.parametrize("chapter", WITH_REAL_SETS)
def test_a_chapter_runs_with_the_real_sets(chapter, tmp_path, shared_data):
    assert WITHOUT_SETS not in run(chapter, tmp_path, shared_data)


def cells(chapter: str) -> list:
    return read_chapter(CHAPTERS[chapter].read_text("utf-8")).cells


def test_there_are_nine_and_the_library_finds_them():
    assert [int(name[:2]) for name in CHAPTERS] == list(range(1, 10))
    assert find_chapters() == list(CHAPTERS.values())


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_opens_with_what_one_will_be_able_to_do(chapter):
    first = cells(chapter)[0]
    assert first.cell_type == "markdown"
    assert re.match(rf"# {int(chapter[:2])}\. \S.*\n\n\*\*By the end of this chapter\*\*, you can ", first.source)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_asserts_what_it_says_and_uses_only_public_names_of_the_library(chapter):
    text = CHAPTERS[chapter].read_text("utf-8")
    assert text.count("\nassert ") >= 10
    assert "from firstlight" not in text


def test_the_appendix_has_older_code_for_every_chapter_and_no_chapter_mentions_the_notes():
    appendix = (REPOSITORY / "guide" / "older_code.md").read_text("utf-8")
    told = " ".join(re.findall(r"^## Chapters? (.*):", appendix, re.MULTILINE))
    assert {int(number) for number in re.findall(r"\d", told)} == set(range(1, 10))
    for chapter in CHAPTERS.values():
        assert not re.search(r"\b(then and now|the notes)\b", chapter.read_text("utf-8"), re.IGNORECASE)


DRAWS = (
    r"\bfl\.(imshow|image_grid|confusion_matrix|training_curves|view_classify)\(|\.draw\(\)|plt\.(figure|subplots)\("
)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_figure_is_described_for_those_who_cannot_see_it(chapter):
    for cell in (cell for cell in cells(chapter) if cell.cell_type == "code"):
        described = cell.source.startswith("# Figure: ")
        assert described == bool(re.search(DRAWS, cell.source)), cell.metadata.get("title", cell.source)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_exercise_is_followed_by_its_folded_solution_which_asserts(chapter):
    found = cells(chapter)
    begin = next(place for place, cell in enumerate(found) if cell.source.startswith("## Exercises"))
    exercises = found[begin:]
    asked = [cell for cell in exercises if cell.cell_type == "markdown"]
    assert 2 <= len(asked) <= 4
    for number, (question, solution) in enumerate(zip(asked, exercises[1::2], strict=True), start=1):
        assert f"**{number}.**" in question.source
        assert solution.cell_type == "code" and solution.metadata["tags"] == ["hide-cell"]
    assert sum("assert " in cell.source for cell in exercises if cell.cell_type == "code") >= 2
    assert all(
        kinds in (("markdown", "code"), ("code", "markdown")) for kinds in pairwise(c.cell_type for c in exercises)
    )


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_other_code_cell_has_a_name_of_its_own(chapter):
    code = [
        cell for cell in cells(chapter) if cell.cell_type == "code" and "hide-cell" not in cell.metadata.get("tags", [])
    ]
    names = [cell.metadata.get("title", "") for cell in code]
    assert all(names) and len(set(names)) == len(names)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_words_hold_no_result(chapter):
    prose = "\n".join(cell.source for cell in cells(chapter) if cell.cell_type == "markdown")
    prose = re.sub(r"`[^`]*`|```.*?```", "", prose, flags=re.DOTALL)
    claims = r"(?i)(accuracy|loss|error|seconds?|times as)\s+(is|of|was|becomes|takes)\s+(about |around )?\d"
    assert not re.search(claims, prose), "a number that a run could give is printed by the run"


def cell_of(chapter: str, name: str) -> str:
    """Give the source of a cell by its title, or by the heading it has."""
    for kind in ("code", "markdown"):
        for cell in (cell for cell in cells(chapter) if cell.cell_type == kind):
            if name == cell.metadata.get("title") or (kind == "markdown" and f"# {name}\n" in cell.source + "\n"):
                return cell.source
    raise AssertionError(f"{chapter} has no cell {name!r}")


@pytest.mark.parametrize("row", COVERAGE, ids=lambda row: f"{row['section']} {row['idea']}")
def test_an_idea_of_the_notes_is_where_the_table_says(row):
    source = "".join(cell_of(row["chapter"], row["cell"]).split())  # however its lines are broken
    for code in filter(None, row["now"].split(";")):
        assert "".join(code.split()) in source


def test_every_section_of_the_notes_has_its_chapter():
    sections = {row["section"].split(".")[0]: row["chapter"] for row in COVERAGE}
    assert {number: chapter[:2] for number, chapter in sections.items()} == {str(n): f"0{n}" for n in range(1, 10)}
    assert {row["section"] for row in COVERAGE} >= {f"3.{step}" for step in range(1, 8)} | {
        f"4.{s}" for s in range(1, 5)
    }


def test_the_table_leaves_nothing_of_the_notes_out():
    notes = REPOSITORY.parent / "shared" / "notes" / "pytorch-guide-notes.md"
    if not notes.is_file():
        pytest.skip("the learner's notes are not here: expected in ../shared/notes")
    text = notes.read_text("utf-8")
    headings = re.findall(r"^## (\d)\. ", text, re.MULTILINE)
    assert set(headings) <= {row["section"].split(".")[0] for row in COVERAGE}
    code = "\n".join(re.findall(r"```(?:python|bash)\n(.*?)```", text, re.DOTALL))
    code = "\n".join(re.sub(r"(^|\s)#.*", "", line) for line in code.splitlines())
    libraries = r"\b(?:torch|nn|F|optim|np|plt|transforms|datasets|helper|urllib|model)(?:\.\w+)+"
    ideas = set(re.findall(libraries, code)) | {f".{name}" for name in re.findall(r"\.(\w+)\(", code)}
    told = {word for row in COVERAGE for word in row["then"].split()}
    told |= {f".{word.rpartition('.')[2]}" for word in told}
    assert ideas - told == set()
