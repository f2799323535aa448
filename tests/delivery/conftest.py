"""A run folder made by the writers of `runs`: real digits, classified by the nearest mean of 30 others of a class."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pytest
import torch

from firstlight.evaluation.evaluate import evaluate_logits
from firstlight.evaluation.mistakes import shown_positions
from firstlight.runs.folder import write_metrics
from firstlight.runs.outputs import Outputs, write_outputs, write_thumbnails
from firstlight.runs.record import Record, write_record

TEMPERATURE = 2.0
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",  # a camera, and leave to use it
)  # fmt: skip
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
HOSTILE = [
    "<script>alert(1)</script>", "</style><script>alert(2)</script>", "</script><img src=x onerror=alert(3)>",
    '"><svg/onload=alert(4)>', "' onmouseover='alert(5)", "javascript:alert(6)", "{{ 7 * 7 }}", "{% raw %}",
    "&lt;b&gt;", "<!--", "-->", "]]>", "<b>", "</bdi></p></section>", "\\u003cscript\\u003e", "=cmd|' /C calc'!A0",
    "+1", "-1", "@x",
    "a\nb", "a\tb", "a\rb", "a\x00b", "\x1b[31mred", "\u202egnp.exe", "\u2066x\u2069", "\ufeff", "\u200b", "é" * 200,
    "x" * 300, "مرحبا", "ผู้หญิง", "连衣裙", "日本語", "עברית", "🙂", "a b", " a", "a ",
    "..", "../../etc/passwd", "C:\\temp",
    "a/b", "%3Cb%3E", "`id`", "$(id)", "a'b", 'a"b', "<base href=//x>", "<meta http-equiv=refresh content=0>",
]  # fmt: skip


@pytest.fixture(autouse=True)
def settings_stay_as_they_were():
    before = mpl.rcParams.copy()  # reading the backend one by one would start pyplot
    yield
    assert mpl.rcParams.copy() == before


class DrawableRun(NamedTuple):
    """A run folder, its record and outputs, and the test images uint8 `[n, H, W, C]`."""

    folder: Path
    record: Record
    outputs: Outputs
    images: np.ndarray


@pytest.fixture
def drawable_run(digits, tmp_path) -> DrawableRun:
    images, labels = digits
    classes = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    train, test = np.arange(300), np.arange(1000, 1500)
    flat = images.reshape(len(images), -1).astype(np.float32) / 255
    means = np.stack([flat[train][labels[train] == label].mean(axis=0) for label in range(10)])
    logits = -((flat[test, None] - means) ** 2).sum(axis=2)
    outputs = Outputs(tuple(f"{labels[row]}/{row}\udcff.png" for row in test), labels[test], logits)
    tensors = torch.from_numpy(logits), torch.from_numpy(labels[test])
    evaluation = evaluate_logits(*tensors, classes, temperature=TEMPERATURE)
    record = Record(
        source="digits",
        source_key="c8dd1e",
        classes=classes,
        n={"train": 300, "valid": 500, "test": 500},
        quarantined=0,
        leaks=0,
        dropped=0,
        notes=(),
        epochs=2,
        best_epoch=2,
        seconds={"pack": 0.1, "train": 0.2, "total": 0.3},
        valid=evaluation,
        test=evaluation,
        test_evaluations=1,
        leaked=(),
        resize="crop",
    )
    folder = tmp_path / "run"
    folder.mkdir()
    write_record(folder, record)
    rows = [
        {"epoch": epoch, "train_loss": 1 / epoch, "valid_loss": 1 / epoch, "valid_accuracy": 0.8} for epoch in (1, 2)
    ]
    write_metrics(folder, rows)
    write_outputs(folder, "test", outputs)
    shown = shown_positions(*tensors, temperature=TEMPERATURE)
    write_thumbnails(folder, [outputs.names[place] for place in shown], images[test][shown][..., None])
    return DrawableRun(folder, record, outputs, images[test][..., None])


@pytest.fixture(scope="module")
def browser():
    """A Chromium of this machine; the tests are skipped where there is none, or nothing to drive it by."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `dev`)")
    file = os.environ.get("CHROME") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if file is None:
        pytest.skip("no Chromium or Chrome on this machine; install one, or name its file in CHROME")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=file, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="session")
def hostile_names():
    """Fifty names that must not be anything but text."""
    return HOSTILE
