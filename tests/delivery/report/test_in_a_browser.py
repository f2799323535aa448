"""The report in a real Chromium: what it shows, what keys and buttons do, and that everyone can use it."""

import csv

import numpy as np
import pytest

from firstlight.delivery.report.material import read_run
from firstlight.delivery.report.page import page_of
from firstlight.files import from_cell

NAMES = ["dress", "hat", "مرحبا", "ผู้หญิง", "连衣裙", "outwear, all kinds", "pants", "=shirt", 'the "short" one', "shoes"]
ACTIONS = ("keep", "relabel", "remove", "relabel", "keep", "remove", "relabel", "relabel")


@pytest.fixture
def opened(browser, tmp_path):
    """A function that opens a report; in the end nothing may have gone wrong, been asked for, or popped up."""
    wrong, contexts = [], []

    def open_page(html, width=1280, **options):
        file = tmp_path / "report.html"
        file.write_text(html, "utf-8")
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(120_000)  # of a busy machine
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda asked: wrong.append(asked.url) if asked.url != file.as_uri() else None)
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in wrong if not text.startswith("data:")] == []


def test_the_keyboard_opens_the_images_of_a_square_and_comes_back(kept_run, opened):
    page = opened(page_of(read_run(kept_run.folder)))
    first = page.locator("#matrix td a").first
    first.focus()
    page.keyboard.press("ArrowDown")
    below = next(true for true in range(1, 10) if kept_run.record.test.confusion[true][0])
    assert page.evaluate("document.activeElement.getAttribute('href')") == f"#pair-{below}-0"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    gallery = page.locator("#pair-0-0")
    assert gallery.is_visible() and page.locator(".gallery:visible").count() == 1
    shown = int(first.inner_text())
    assert gallery.locator(".sprite").count() == shown
    box = gallery.locator(".sprite").first.bounding_box()
    assert box["width"] == pytest.approx(box["height"]) and box["width"] > 60
    page.keyboard.press("Escape")
    assert not gallery.is_visible()
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#pair-0-0"


def test_without_javascript_everything_can_be_read(kept_run, opened):
    page = opened(page_of(read_run(kept_run.folder)), java_script_enabled=False)
    page.locator("#matrix td a").first.click()
    assert page.locator("#pair-0-0").is_visible()
    assert page.locator("#summary .score").is_visible() and page.locator(".plot").first.is_visible()


def test_decisions_about_labels_become_a_file_that_can_be_read_back(kept_run, material_named, opened, tmp_path):
    page = opened(page_of(material_named(kept_run, NAMES)), accept_downloads=True)
    suspects = page.locator("#suspects .suspect")
    for place, action in enumerate(ACTIONS):
        suspects.nth(place).locator(f"input[value={action}]").check()
    suspects.nth(3).locator(".new-label").fill(NAMES[8])
    suspects.nth(3).locator(".new-label").press("Tab")
    assert page.locator("#decided").inner_text() == "8 of 10 decided"
    page.reload()
    assert page.locator("#decided").inner_text() == "8 of 10 decided", "they are not lost with the page"
    with page.expect_download() as downloading:
        page.locator("#download").click()
    assert downloading.value.suggested_filename == "corrections.csv"
    downloading.value.save_as(tmp_path / "corrections.csv")
    with (tmp_path / "corrections.csv").open(encoding="utf-8", newline="") as lines:
        rows = [{key: from_cell(cell) for key, cell in row.items()} for row in csv.DictReader(lines, strict=True)]
    expected = [
        (name, "keep" if place in (0, 4) else "remove" if place in (2, 5) else "relabel")
        for place, name in enumerate(NAMES[:8])
    ]
    assert [(row["image"], row["action"]) for row in rows] == expected
    labels = {row["image"]: row["label"] for row in rows if row["action"] == "relabel"}
    assert labels == {NAMES[1]: NAMES[0], NAMES[3]: NAMES[8], NAMES[6]: NAMES[0], NAMES[7]: NAMES[0]}
    page.locator("#undecide").click()
    assert page.locator("#decided").inner_text() == "nothing decided yet"


def test_a_filter_hides_what_does_not_contain_its_words(kept_run, material_named, opened):
    page = opened(page_of(material_named(kept_run, NAMES)))
    page.locator("[data-filter=suspects]").fill("连衣")
    assert page.locator("#suspects .suspect:visible").count() == 1


def test_a_path_is_copied_by_a_click(kept_run, opened):
    page = opened(page_of(read_run(kept_run.folder)))
    page.clock.install()  # the word goes after a second, which a busy machine could miss
    page.locator("#mistakes button.path").first.click()
    page.locator("#mistakes button.path.copied").wait_for()
    page.clock.run_for(2000)
    assert page.locator("button.path.copied").count() == 0


@pytest.mark.parametrize("start", [0, 10, 20, 30, 40])
def test_hostile_names_run_nothing(kept_run, hostile_names, material_named, opened, start):
    page = opened(page_of(material_named(kept_run, hostile_names[start : start + 10])))
    assert page.evaluate("document.querySelectorAll('img, object, iframe, base').length") == 0
    assert page.evaluate("document.scripts.length") == 1


def test_a_script_that_is_not_ours_is_refused(kept_run, opened, browser, tmp_path):
    html = page_of(read_run(kept_run.folder)).replace("</body>", "<script>document.title = 'theirs'</script></body>")
    (tmp_path / "planted.html").write_text(html, "utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "planted.html").as_uri())
    assert "theirs" not in page.title()
    page.close()


@pytest.mark.parametrize("width", [390, 1600])
def test_nothing_is_wider_than_the_window(kept_run, material_named, opened, width):
    page = opened(page_of(material_named(kept_run, [*NAMES[:8], "x" * 90, "many words " * 9])), width=width)
    too_wide = """() => [...document.querySelectorAll("body *")]
        .filter((one) => !one.closest(".scroll, nav, .skip") && one.getBoundingClientRect().right > innerWidth + 1)
        .map((one) => one.outerHTML.slice(0, 120))"""
    assert page.evaluate(too_wide) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator("#matrix td a").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.slow  # axe-core takes seconds a page
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])  # colors do not depend on the width
def test_axe_finds_nothing_that_keeps_anyone_from_using_it(kept_run, material_named, opened, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed (extra `dev`)")
    material = material_named(kept_run, NAMES)
    page = opened(page_of(material), width=width, color_scheme=scheme, bypass_csp=True)
    for link in (None, "#matrix td a"):
        if link:
            page.locator(link).first.click()
        found = axe.Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found] == []
    assert np.isfinite(page.evaluate("innerWidth"))
