"""The site: it builds without a warning, nothing public is missing, and what its pages tell people to type works."""

import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

import firstlight as fl
from firstlight.cli.entry import main, parse

REPOSITORY = Path(__file__).parents[2]
GUIDE = REPOSITORY / "guide"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site built from a copy, without running the chapters (another test does); once for all test processes."""
    root = tmp_path_factory.getbasetemp() / "site"
    if os.environ.get("PYTEST_XDIST_WORKER"):
        root = root.parents[1] / "site"
    root.mkdir(exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "built").exists():
            build(root)
            (root / "built").touch()
    return root / "html"


def build(root: Path) -> None:
    shutil.copytree(GUIDE, root / "guide", ignore=shutil.ignore_patterns("site", "made"), dirs_exist_ok=True)
    (root / "benchmarks").mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / "benchmarks" / "RESULTS.md", root / "benchmarks")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-D", "nb_execution_mode=off",
         root / "guide", root / "html"], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def text_of(page: Path) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.read_text("utf-8"))).split())


def test_every_page_is_there_and_in_the_contents(site):
    contents = (site / "index.html").read_text("utf-8")
    pages = [
        *GUIDE.glob("[0-9]*.py"),
        *GUIDE.glob("[a-z]*.md"),
        *GUIDE.glob("how-to/*.md"),
        *GUIDE.glob("reference/*.md"),
    ]
    pages.remove(GUIDE / "index.md")
    assert len(pages) == 9 + 1 + 11 + 3
    for page in pages:
        name = page.relative_to(GUIDE).with_suffix(".html").as_posix()
        assert (site / name).is_file()
        assert f'href="{name}"' in contents


def test_every_chapter_can_be_downloaded_as_a_notebook(site):
    for chapter in GUIDE.glob("[0-9]*.py"):
        (link,) = re.findall(r'href="(_downloads/[^"]+\.ipynb)"', (site / f"{chapter.stem}.html").read_text("utf-8"))
        assert link.endswith(f"{chapter.stem}.ipynb")
        assert '"nbformat"' in (site / link).read_text("utf-8")


def test_every_public_name_is_in_the_reference(site):
    page = (site / "reference" / "python.html").read_text("utf-8")
    assert [name for name in fl.__all__ if f'id="firstlight.{name}"' not in page] == []


def test_the_source_code_on_the_site_is_ours(site):
    assert {page.stem for page in (site / "_modules").iterdir()} == {"firstlight", "index"}


def test_every_link_of_the_site_leads_somewhere(site):
    text = {page: page.read_text("utf-8") for page in site.rglob("*.html")}
    places = {page: set(re.findall(r'\bid="([^"]+)"', html)) for page, html in text.items()}
    for page, html in text.items():
        for link in re.findall(r'href="(?![a-z]+:)([^"]+)"', html):
            path, _, place = link.partition("#")
            target = (page.parent / path.partition("?")[0]).resolve() if path else page
            assert target.exists(), (page, link)
            assert not place or target not in places or unescape(place) in places[target], (page, link)


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "check", "guide"])
def test_every_flag_of_a_command_is_in_the_reference(site, capsys, command):
    page = (site / "reference" / "command_line.html").read_text("utf-8")
    section = page.partition(f'<section id="firstlight-{command}">')[2].partition('<section id="firstlight-')[0]
    assert main([command, "--help-all"]) == 0
    flags = set(re.findall(r"(?m)^  (--\S+)", capsys.readouterr().out))
    assert flags == set(re.findall(r"<dt><code[^>]*><span[^>]*>(--[^<]+)", section))


def test_a_default_in_the_reference_is_the_default(site):
    page = text_of(site / "reference" / "command_line.html")
    for told in (
        r"--width N Width of the cnn[^.]*\. \(default: 32\)",
        r"--split SPLIT Proportions of train/valid/test[^.]*\.csv [^.]*\.[^.]*\. \(default: 70/15/15\)",
        r"--hidden N \.\.\. Widths [^.]*\. \(default: 512 256 128\)",
        r"--max-pixels PIXELS [^.]*\. \(default: 50000000\)",
        r"--epochs N [^.]*\. \(mlp 12, cnn 8, ",
    ):
        assert re.search(told, page), told


def commands(page: str) -> list[list[str]]:
    """Give the words of every command in a page's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (GUIDE / "how-to" / page).read_text("utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in map(str.strip, block.splitlines()) if line.startswith("firstlight ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


PAGES = ["train_on_your_folder.md", "bring_your_own_weights.md"]
PAGE_ABOUT_MACHINES = "when_one_machine_is_not_enough.md"
PAGES_ABOUT_TRUST = ["find_wrong_labels.md", "when_the_model_is_unsure.md", "compare_two_models.md"]


@pytest.mark.parametrize("page", [*PAGES, *PAGES_ABOUT_TRUST, "ship_it.md", PAGE_ABOUT_MACHINES])
def test_what_a_page_tells_people_to_type_is_understood(page):
    typed = commands(page)
    assert len(typed) > 3
    for words in typed:
        assert parse(words) is not None


def test_what_the_page_about_machines_tells_torchrun_to_run_is_understood():
    from torch.distributed.run import get_args_parser

    blocks = "".join(
        re.findall(r"```sh\n(.*?)```", (GUIDE / "how-to" / PAGE_ABOUT_MACHINES).read_text("utf-8"), re.DOTALL)
    )
    lines = [line for line in blocks.replace("\\\n", " ").splitlines() if line.startswith("torchrun ")]
    assert len(lines) == 2
    for line in lines:
        known = get_args_parser().parse_args(shlex.split(line)[1:])
        assert (known.module, known.training_script) == (True, "firstlight")
        assert parse(known.training_script_args) is not None


def write_photos(images, labels) -> None:
    """Write the pictures that the pages are about into this folder."""
    from PIL import Image

    for label in range(10):
        folder = Path("photos") / str(label)
        folder.mkdir(parents=True)
        for name, row in zip("abcdefghijkl", (labels == label).nonzero()[0], strict=False):
            Image.fromarray(images[row]).save(folder / f"{name}nna-01.png")
    shutil.copy(Path("photos") / "3" / "anna-01.png", "new.jpg")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_ABOUT_TRUST)
def test_what_a_page_about_trust_tells_people_to_type_works(page, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photos(*digits)
    for text in re.findall(
        r"```text\n(image,label,action\n.*?)```", (GUIDE / "how-to" / page).read_text("utf-8"), re.DOTALL
    ):
        Path("corrections.csv").write_text(text, "utf-8")
    typed = commands(page)
    if not any(words[0] == "train" for words in typed):
        typed = [["train", "photos"], *typed]
    for words in typed:
        quick = [*words, "--epochs", "1"] if words[0] == "train" else words
        quick = [*words[:-1], "2"] if words[-2] == "--seeds" else quick
        assert main(quick) == 0, quick


@pytest.mark.slow
def test_what_the_pages_tell_people_to_type_works(digits, backbone, tmp_path, monkeypatch, capsys):
    """On pictures called as in the text; backbones are replaced by one that is at hand."""
    monkeypatch.chdir(tmp_path)
    write_photos(*digits)
    lines = [words for page in PAGES for words in commands(page)]
    assert len(lines) == 16
    for typed in lines:
        words = [word for word in typed if word != "--weights" and not word.startswith("mobilenet_v2.")]
        model = words[words.index("--model") + 1] if "--model" in words else ""
        if ":" in model or {"--ladder", "--finetune", "--learning-curve"} & {*words}:
            words = [word for word in words if word not in ("--model", model)]
            words += ["--model", backbone.name, "--weights", str(backbone.file), "--img-size", "32"]
        elif words[0] == "train":
            words = [*typed, "--epochs", "1"]
        assert main(words) == 0, words
    assert (tmp_path / "answers.csv").is_file()
    for block in re.findall(r"```python\n(.*?)```", (GUIDE / "how-to" / PAGES[0]).read_text("utf-8"), re.DOTALL):
        exec(block, {})
