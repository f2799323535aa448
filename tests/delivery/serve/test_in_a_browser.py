"""The page in a real Chromium, on a real server: pictures go in every way, and answers come out for everyone."""

import base64
import csv
import io
import re
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from PIL import Image

from firstlight.delivery.serve.service import Service
from firstlight.delivery.share.card import card_of
from firstlight.files import from_cell
from firstlight.inference.predictor import Predictor
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import load_model
from firstlight.models.trust import Trust

TOO_WIDE = """() => [...document.querySelectorAll("body *")]
    .filter((one) => !one.closest(".skip, .unseen, .boxed") && one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => one.outerHTML.slice(0, 120))"""
NO_CAMERA = """() => {
    navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("", "NotAllowedError"); };
}"""
# A list of files as a script in the page gives it to `DataTransfer`.
GIVE = """([kind, target, files]) => {
    const transfer = new DataTransfer();
    for (const [name, data] of files) {
        const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type: "image/png" }));
    }
    const place = document.querySelector(target);
    const of = { bubbles: true, cancelable: true };
    if (kind === "paste") place.dispatchEvent(new ClipboardEvent("paste", { ...of, clipboardData: transfer }));
    else for (const type of ["dragover", "drop"]) {
        place.dispatchEvent(new DragEvent(type, { ...of, dataTransfer: transfer }));
    }
}"""
TOKEN = "0123456789abcdef-page"


class Site(NamedTuple):
    """A model behind HTTP, where it is, and what `/model` says of it."""

    address: str
    model: Classifier
    card: dict


class Sites(NamedTuple):
    digits: Site
    locked: Site
    hostile: Site
    thousand: Site


@pytest.fixture(scope="module")
def served(digit_run, hostile_names, running):
    """Real servers, guarded as `firstlight serve` guards them: of digits, open and with a token, and of many names."""
    trained = load_model(digit_run.folder / "model.safetensors")
    models = Sites(trained, trained, untrained(hostile_names), untrained([f"class number {n}" for n in range(1000)]))
    with ExitStack() as stack:
        sites = []
        for name, model in zip(Sites._fields, models, strict=True):
            service = Service(model, name=name, workers=1)
            server = stack.enter_context(running(service, token=TOKEN if name == "locked" else None))
            sites.append(Site(server.address, model, card_of(model).to_json()))
        yield Sites(*sites)


def untrained(names):
    names = tuple(dict.fromkeys(names))
    model = Classifier(architecture={"name": "mlp"}, classes=names, input_size=(1, 8, 8))
    model.trust = Trust(set_quantile=1.0, measured_on={"split": "valid", "n": 3})
    return model.eval()


@pytest.fixture(scope="module")
def digit_files(digits):
    """Twenty digits as PNG files, each a name with the bytes."""
    files = []
    for row, (image, label) in enumerate(zip(digits[0][900:920], digits[1][900:920], strict=True)):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        files.append((f"{row:02d}-{label}.png", file.getvalue()))
    return files


@pytest.fixture
def opened(browser, served):
    """A function that opens a page; in the end nothing may have gone wrong, popped up, or left the server."""
    wrong, contexts = [], []

    def open_page(address, width=1280, expected=None, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(120_000)  # of a busy machine

        def hear(text):
            if expected is None or expected not in text:
                wrong.append(text)

        page.on("console", lambda message: hear(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        ours = (f"{address}/", f"blob:{address}/", "data:")
        page.on("request", lambda asked: None if asked.url.startswith(ours) else wrong.append(asked.url))
        page.goto(f"{address}/")
        page.locator("#open, #locked").locator("visible=true").first.wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def upload(name, data):
    return {"name": name, "mimeType": "image/png", "buffer": data}


def give(page, *files):
    page.set_input_files("#files", [upload(*file) for file in files])


def drop(page, kind, *files, on="body"):
    page.evaluate(GIVE, [kind, on, [(name, base64.b64encode(data).decode()) for name, data in files]])


def finished(page):
    page.locator("#many").wait_for(state="visible")
    page.locator("tr[data-kind=waiting]").first.wait_for(state="detached")
    page.locator("#progress").wait_for(state="hidden")


def heading(page):
    page.locator("#answer .bars").wait_for()
    return page.locator("#answer-title bdi").inner_text()


def downloaded(page):
    with page.expect_download() as downloading:
        page.locator("#download").click()
    assert downloading.value.suggested_filename == "predictions.csv"
    return downloading.value.path().read_bytes().decode("utf-8")


def test_a_chosen_picture_is_answered_as_the_predictor_answers(opened, served, digit_files):
    page = opened(served.digits.address)
    assert page.locator("#title").inner_text() == "digits"
    name, data = digit_files[0]
    give(page, (name, data))
    expected = Predictor(served.digits.model).predict(data)
    assert heading(page) == expected.label
    rows = page.locator("#answer .bars li")
    assert rows.locator("bdi").all_inner_texts() == [guess.label for guess in expected.top]
    shares = [float(text.strip("<> %")) for text in rows.locator(".number").all_inner_texts()]
    assert shares == pytest.approx([max(0.1, 100 * guess.probability) for guess in expected.top], abs=0.06)
    assert page.locator("#answer .chips bdi").all_inner_texts() == list(expected.set)
    said = page.locator("#said").inner_text()
    assert expected.label in said and ("Unsure" in said) == expected.unsure
    assert page.locator("#answer .frame img").evaluate("one => one.naturalWidth") == 8


def test_pictures_are_dropped_and_pasted(opened, served, digit_files):
    page = opened(served.digits.address)
    drop(page, "drop", digit_files[0])
    assert heading(page) == Predictor(served.digits.model).predict(digit_files[0][1]).label
    drop(page, "paste", ("image.png", digit_files[1][1]), on="#content")
    finished(page)
    names = page.locator("#rows bdi").all_inner_texts()
    assert digit_files[0][0] in names and any(name.startswith("pasted-") for name in names)


@pytest.mark.slow
def test_of_a_dropped_folder_only_the_pictures_are_taken(opened, served, digit_files, tmp_path):
    page = opened(served.digits.address, width=390)
    for name in ("a/one.png", "a/b/two.PNG", "a/.hidden.png", "a/notes.txt", "empty/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(digit_files[0][1])

    def drag(folder):
        mouse = {"x": 200, "y": 300, "data": {"items": [], "files": [str(tmp_path / folder)], "dragOperationsMask": 1}}
        for kind in ("dragEnter", "dragOver", "drop"):
            session.send("Input.dispatchDragEvent", {"type": kind, **mouse})

    session = page.context.new_cdp_session(page)
    drag("empty")
    page.get_by_text("Nothing that you dropped is a picture.").wait_for()
    drag("a")
    finished(page)
    assert page.locator("#rows button.name").all_inner_texts() == ["a/b/two.PNG", "a/one.png"]
    assert not page.locator("#problem").is_visible()


def test_the_camera_takes_a_photo(opened, served):
    page = opened(served.digits.address, permissions=["camera"])
    page.locator("#photograph").click()
    page.locator("#capture:enabled").wait_for()
    assert page.locator("#viewfinder").evaluate("one => one.videoWidth") > 0
    page.locator("#capture").click()
    heading(page)
    assert not page.locator("#camera").is_visible()
    assert page.locator("#viewfinder").evaluate("one => one.srcObject") is None, "the camera is off again"
    assert page.locator("#answer .eyebrow").inner_text() == "photo-1.jpg"


def test_without_a_camera_the_camera_app_is_offered(opened, served):
    page = opened(served.digits.address)
    page.evaluate(NO_CAMERA)
    page.locator("#photograph").click()
    assert "not allowed to use the camera" in page.locator("#camera-problem").inner_text()
    shot = page.locator("#shot")
    assert shot.get_attribute("capture") == "environment" and page.locator("#fallback").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#camera").is_visible()


def test_many_pictures_become_a_table_that_is_read_back_from_csv(opened, served, digit_files):
    page = opened(served.digits.address)
    files = [
        *digit_files[:18],
        ("=1+1.png", digit_files[0][1]),
        ('a "b", c.png', digit_files[1][1]),
        ("no.png", b"text"),
    ]
    give(page, *files)
    finished(page)
    assert page.locator("#many-title").inner_text() == "21 pictures"
    assert "1 without an answer" in page.locator("#counts").inner_text()
    text = downloaded(page)
    assert "'=1+1.png" in text, "no spreadsheet runs it"
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert list(rows[0])[:8] == ["image", "label", "probability", "error", "unsure", "reason", "set", "strangeness"]
    assert [from_cell(row["image"]) for row in rows] == [name for name, _ in files]
    for row, (_, data) in zip(rows, files, strict=True):
        expected = Predictor(served.digits.model).predict(data)
        if expected.error:
            assert (row["label"], row["error"]) == ("", expected.error)
            continue
        assert (row["label"], row["error"], row["unsure"]) == (expected.label, "", str(expected.unsure).lower())
        assert row["set"] == "; ".join(expected.set)
        assert float(row["probability"]) == pytest.approx(expected.probability, abs=1e-6)
        assert float(row["strangeness"]) == pytest.approx(expected.strangeness, rel=1e-4)
        assert (row["label_2"], row["label_5"]) == (expected.top[1].label, expected.top[4].label)


def test_the_heatmap_comes_on_demand_for_the_class_that_is_asked_for(opened, served, digit_files):
    page = opened(served.digits.address)
    give(page, digit_files[0])
    heading(page)
    assert page.locator(".heat").count() == 0
    page.get_by_role("button", name="Show where it looks").click()
    page.locator(".heat").wait_for()
    first = page.locator(".heat").get_attribute("src")
    with page.expect_request("**/explain?*") as asked:
        page.get_by_label("The class that the heatmap is for").select_option(index=1)
    second = page.locator("#answer .bars bdi").nth(1).inner_text()
    assert asked.value.url.endswith(f"label={second}")
    page.locator(f".heat:not([src='{first}'])").wait_for()
    assert f"evidence for {second}" in page.locator("figcaption").inner_text()
    page.get_by_role("button", name="Show the picture").click()
    assert page.locator(".heat").count() == 0


def test_everything_can_be_done_by_the_keyboard_alone(opened, served, digit_files):
    page = opened(served.digits.address)
    page.on("filechooser", lambda _: None)  # long before it opens: the browser does not hear of it at once
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the pictures"
    page.keyboard.press("Enter")
    page.locator("#content:focus").wait_for()
    page.keyboard.press("Tab")
    with page.expect_file_chooser() as choosing:
        page.keyboard.press("Enter")
    choosing.value.set_files([upload(*file) for file in digit_files[:3]])
    finished(page)
    for _ in range(9):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "name":
            break
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "answer-title"
    assert (
        page.evaluate("document.activeElement.closest('section').querySelector('.eyebrow').innerText")
        == digit_files[0][0]
    )
    page.get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    assert page.locator("#answer .eyebrow").inner_text() == digit_files[1][0]
    page.get_by_role("button", name="Close").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.innerText") == digit_files[1][0], "the focus is where it was"


def test_a_picture_that_cannot_be_used_says_why_in_words(opened, served):
    page = opened(served.digits.address, expected="422")
    give(page, ("no.png", b"just text"))
    notice = page.locator("#answer .notice")
    notice.wait_for()
    assert notice.inner_text() == "It cannot be used: holds text, not a picture."
    assert "No preview" in page.locator("#answer .frame").inner_text()
    assert "holds text" in page.locator("#said").inner_text()


def test_a_busy_server_is_asked_again_when_it_said(opened, served, digit_files):
    page = opened(served.digits.address, expected="503")
    answers = iter([503, 503])

    def busy(route):
        status = next(answers, None)
        return route.fulfill(status=status, headers={"Retry-After": "0.2"}) if status else route.continue_()

    page.route("**/predict", busy)
    give(page, *digit_files[:3])
    page.locator("#problem").wait_for()
    assert "busy" in page.locator("#problem").inner_text()
    finished(page)
    assert page.locator("tr[data-kind=failed]").count() == 0
    assert not page.locator("#problem").is_visible()


@pytest.mark.slow  # with the next two, seconds that the quick tests do not have
def test_what_was_canceled_or_not_sent_can_be_tried_again(opened, served, digit_files):
    page = opened(served.digits.address, expected="Failed to load resource")
    page.route("**/predict", lambda route: None)
    give(page, *digit_files[:12])
    page.locator("#cancel").click()
    finished(page)
    assert page.locator("tr[data-kind=failed]").count() == 12
    page.unroute("**/predict")
    page.route("**/predict", lambda route: route.abort())
    page.route("**/health/live", lambda route: route.abort())
    page.locator("#again").click()
    page.locator("#problem").wait_for()
    assert "Is it still running?" in page.locator("#problem").inner_text()
    page.unroute("**/predict")
    page.locator("#again").click()
    finished(page)
    assert page.locator("tr[data-kind=failed]").count() == 0
    page.locator("#clear").click()
    assert page.locator("#rows tr").count() == 0 and not page.locator("#many").is_visible()


@pytest.mark.slow
def test_one_bad_request_does_not_lose_the_pictures_beside_it(opened, served, digit_files):
    page = opened(served.digits.address, expected="413")

    def refuse(route):
        large = b"large.png" in (route.request.post_data_buffer or b"")
        return route.fulfill(status=413) if large else route.continue_()

    page.route("**/predict", refuse)
    give(page, *digit_files[:3], ("large.png", digit_files[3][1]))
    finished(page)
    assert page.locator("tr[data-kind=failed] td").all_inner_texts() == ["The picture is too large for this server."]


def test_a_token_is_asked_for_and_kept_in_memory_only(opened, served, digit_files):
    page = opened(served.locked.address, expected="401")
    page.locator("#locked").wait_for()
    assert not page.locator("#open").is_visible()
    assert page.evaluate("document.activeElement.id") == "token"
    page.keyboard.type("not the right token")
    page.keyboard.press("Enter")
    page.get_by_text("does not accept this token").wait_for()
    page.locator("#token").fill(TOKEN)
    page.keyboard.press("Enter")
    page.locator("#open").wait_for(state="visible")
    give(page, digit_files[0])
    heading(page)
    page.get_by_role("button", name="Show where it looks").click()
    page.locator(".heat").wait_for()
    kept = page.evaluate(
        "JSON.stringify([localStorage, sessionStorage, document.cookie, location.href, history.state])"
    )
    assert TOKEN not in kept and TOKEN not in page.content()
    page.reload()
    page.locator("#locked").wait_for()


def test_hostile_names_of_files_and_classes_are_only_text(opened, served, digit_files, hostile_names):
    page = opened(served.hostile.address)
    data = digit_files[0][1]
    files = [(name.replace("/", "∕").replace("\x00", "") or "x", data) for name in hostile_names]
    drop(page, "drop", *files)
    finished(page)
    assert page.locator("#rows tr[data-kind=failed]").count() == 0
    assert page.locator("#rows tr").count() == 50
    page.locator("#rows button.name").first.click()
    heading(page)
    assert page.locator("#answer .eyebrow bdi").inner_text() == files[0][0]
    assert page.locator("#card .chips li").count() == 50
    assert (
        page.evaluate("document.querySelectorAll('main script, iframe, object, base, style, b, svg[onload]').length")
        == 0
    )
    assert page.evaluate("document.scripts.length") == 1
    shown = page.evaluate("document.body.innerText")
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b]", shown), "none turns the direction of the page"
    rows = list(csv.DictReader(io.StringIO(downloaded(page), newline=""), strict=True))
    assert [from_cell(row["image"]) for row in rows] == [name for name, _ in files]


@pytest.mark.slow
def test_a_thousand_classes_are_searched_not_scrolled_through(opened, served):
    page = opened(served.thousand.address)
    assert ", and 994 more" in page.locator("#lead").inner_text()
    assert page.locator("#card .chips li:visible").count() == 1000
    assert page.locator("#card .boxed").bounding_box()["height"] < 300
    page.get_by_label("Find a class").fill("number 99")
    assert page.locator("#card .chips li:visible").count() == 11
    assert page.get_by_text("11 found").is_visible()


def test_the_card_has_the_test_score_its_interval_and_n(opened, served):
    page = opened(served.digits.address)
    accuracy = served.digits.card["scores"]["test"]["accuracy"]
    card = page.locator("#about").inner_text()
    assert f"{accuracy['value']:.1%}" in card and f"{accuracy['low']:.1%} to {accuracy['high']:.1%}" in card
    assert f"of {accuracy['n']} test pictures right" in card
    for sentence in served.digits.card["limits"]:
        assert sentence in card


@pytest.mark.parametrize("width", [390, pytest.param(1400, marks=pytest.mark.slow)])
def test_nothing_is_wider_than_the_window(opened, served, digit_files, width):
    page = opened(served.hostile.address, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    give(page, *digit_files[:3], ("x" * 200 + ".png", digit_files[0][1]))
    finished(page)
    page.locator("#rows button.name").last.click()
    heading(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(TOO_WIDE) == []


@pytest.mark.slow  # axe-core takes seconds a page
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])  # colors do not depend on the width
def test_axe_finds_nothing_that_keeps_anyone_from_using_it(opened, served, digit_files, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed (extra `dev`)")

    def check():
        found = axe.Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found] == []

    page = opened(served.digits.address, width=width, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    check()
    give(page, *digit_files[:12], ("no.png", b"text"))
    finished(page)
    page.locator("#rows button.name").first.click()
    page.get_by_role("button", name="Show where it looks").click()
    page.locator(".heat").wait_for()
    check()
    page.evaluate(NO_CAMERA)
    page.locator("#photograph").click()
    page.locator("#fallback").wait_for()
    check()
    page.close()
    page = opened(served.locked.address, expected="401", width=width, color_scheme=scheme, bypass_csp=True)
    page.locator("#locked").wait_for()
    check()
