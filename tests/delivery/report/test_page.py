"""The page of a run: what it says, and that nothing that a user named can change it."""

import re
import shutil
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from firstlight.delivery.report.material import read_run
from firstlight.delivery.report.page import page_of
from firstlight.delivery.report.write import write_run_report
from firstlight.errors import RunError
from firstlight.evaluation.mixed_up import MixedUp
from firstlight.runs.record import write_record
from firstlight.runs.suspects import Suspect

BEFORE = Path(__file__).parents[2] / "before"  # made by the version before outputs were kept
VOID = {"meta", "input", "br", "link"}


class Page(HTMLParser):
    """The elements of a page: each one's tag, attributes and text; a tag that is not closed is an error."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.open = [], []
        self.feed(html)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        if tag not in VOID:
            self.open.append((tag, self.elements[-1]))

    def handle_startendtag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, f"</{tag}> in {[name for name, _ in self.open]}"
        self.open.pop()

    def handle_data(self, data):
        for _, element in self.open:
            element[2] += data

    def all(self, tag, **wanted):
        return [
            (attributes, " ".join(text.split()))
            for name, attributes, text in self.elements
            if name == tag and all(attributes.get(key.strip("_")) == value for key, value in wanted.items())
        ]


def test_the_page_of_a_run_is_written_from_its_folder_alone(kept_run, tmp_path):
    moved = kept_run.folder.rename(tmp_path / "elsewhere")
    before = set(moved.rglob("*"))
    written = write_run_report(moved)
    assert written == moved / "report.html" and set(moved.rglob("*")) - before == {written}
    page = Page(written.read_text("utf-8"))
    text = page.all("main")[0][1]
    accuracy = kept_run.record.test.accuracy
    assert f"{100 * accuracy.value:.1f}%" in text
    assert f"{round(500 * accuracy.value)} of 500 pictures that it had never seen" in text
    assert kept_run.record.test.calibration.sentence in text
    assert [title for _, title in page.all("h2")][:3] == [
        "What to do next",
        "Which classes are confused",
        "The worst mistakes",
    ]


def test_a_report_replaces_no_file_that_is_not_a_page(kept_run):
    record = kept_run.folder / "evaluation.json"
    before = record.read_bytes()
    with pytest.raises(RunError, match="that is no page, so it is not replaced"):
        write_run_report(kept_run.folder, record)
    assert record.read_bytes() == before
    (page := kept_run.folder / "page").write_text("\n<!DOCTYPE html>")
    assert len(write_run_report(kept_run.folder, page).read_text("utf-8")) > 1000
    assert write_run_report(kept_run.folder, page) == page


def test_nothing_is_asked_of_the_network_and_only_our_style_and_script_may_run(kept_run):
    html = page_of(read_run(kept_run.folder))
    page = Page(html)
    for _, attributes, _ in page.elements:
        assert not {"style", "src", "onclick", "onload", "action"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\((?!data:image/webp;base64,)", html) and "@import" not in html
    (policy,) = [a["content"] for a, _ in page.all("meta", http_equiv="Content-Security-Policy")] or [
        a["content"] for tag, a, _ in page.elements if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; img-src data:")
    for tag in ("style", "script"):
        ((_, inline, _),) = [(0, text, 0) for name, _, text in page.elements if name == tag]
        assert f"'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'" in policy


def test_every_link_leads_somewhere_and_no_identifier_is_used_twice(kept_run):
    page = Page(page_of(read_run(kept_run.folder)))
    identifiers = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    assert {attributes["href"][1:] for attributes, _ in page.all("a")} <= set(identifiers)


def test_every_square_of_the_matrix_opens_its_images(kept_run):
    page = Page(page_of(read_run(kept_run.folder)))
    squares = [a for a, _ in page.all("a") if a["href"].startswith("#pair-") and "aria-label" in a]
    cells = {(cell.true, cell.predicted): cell.n for cell in kept_run.record.test.confusion.cells}
    assert {square["href"] for square in squares} == {f"#pair-{true}-{predicted}" for true, predicted in cells}
    shown = [a for a, _ in page.all("span", role="img")]
    assert len(shown) >= 500
    assert sum(count for count in cells.values()) == 500


def test_pictures_that_were_not_kept_are_said_to_be_missing(drawable_run):
    html = page_of(read_run(drawable_run.folder))
    assert "Select a number to see its pictures" in html  # those of the worst mistakes
    shutil.rmtree(drawable_run.folder / "outputs")
    text = page_of(read_run(drawable_run.folder))
    assert "This run kept no pictures, so the numbers cannot be opened." in text
    assert 'href="#pair-' not in text


@pytest.mark.parametrize("name", ["mlp-run", "backbone-run"])
def test_a_run_of_an_older_version_gets_an_honest_page(tmp_path, name):
    folder = Path(shutil.copytree(BEFORE / name, tmp_path / name))
    page = Page(write_run_report(folder).read_text("utf-8"))
    assert "Which classes are confused" in [text for _, text in page.all("h2")]
    assert not page.all("section", id="mistakes")


def test_a_run_that_was_not_scored_says_so(kept_run):
    write_record(kept_run.folder, replace(kept_run.record, test=None, test_evaluations=0))
    text = Page(page_of(read_run(kept_run.folder))).all("main")[0][1]
    assert "The test split was not scored." in text and "right on validation pictures" in text


def test_a_damaged_or_empty_folder_is_an_error_of_one_line(kept_run, tmp_path):
    for name in ("outputs/test.safetensors", "recipe.toml", "suspects.csv", "metrics.csv"):
        before = (kept_run.folder / name).read_bytes() if (kept_run.folder / name).exists() else None
        (kept_run.folder / name).write_bytes(b"\x00no = [\n1,2")
        with pytest.raises(RunError) as refused:
            write_run_report(kept_run.folder)
        assert "\n" not in str(refused.value) and name in str(refused.value)
        (kept_run.folder / name).unlink() if before is None else (kept_run.folder / name).write_bytes(before)
    with pytest.raises(RunError):
        write_run_report(tmp_path / "nothing")


def test_fifty_hostile_names_are_only_ever_text(kept_run, hostile_names, material_named):
    assert len(hostile_names) >= 50
    for start in range(0, 50, 10):
        material = material_named(kept_run, hostile_names[start : start + 10])
        html = page_of(material)
        page = Page(html)
        assert {tag for tag, _, _ in page.elements}.isdisjoint({"img", "b", "base", "object", "iframe", "embed"})
        assert len(page.all("script")) == 1 and len(page.all("style")) == 1 and len(page.all("meta")) == 5
        assert not [a for _, a, _ in page.elements if {key for key in a if key.startswith("on")}]
        assert "\u202e" not in html and "\x1b" not in html and "\x00" not in html
        html.encode("utf-8")


def test_classes_that_are_hard_to_tell_apart_are_named(kept_run):
    material = read_run(kept_run.folder)
    assert not page_says(material, "hard to tell apart")
    record = replace(material.record, mixed_up=(MixedUp(("<i>1", "7"), (5, 6), (10, 11)),))
    assert page_says(replace(material, record=record), "<i>1 and 7 are hard to tell apart: in validation, 5 of 10")


def page_says(material, words):
    return any(words in text for _, text in Page(page_of(material)).all("li"))


def test_names_that_are_not_unicode_are_shown_escaped_and_cannot_be_reviewed(kept_run):
    name = "a\udcff.png"
    rows = (Suspect(name, "one", "two", 1.0, flagged=True),)
    page = Page(page_of(replace(read_run(kept_run.folder), suspects=rows)))
    (suspect,) = page.all("li", class_="suspect")
    assert "a\\udcff.png" in suspect[1] and "data-exact" not in suspect[0] and "not valid Unicode" in suspect[1]
