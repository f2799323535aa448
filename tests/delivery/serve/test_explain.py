"""`POST /explain`: the heatmap that `firstlight explain` draws, beside predictions that do not wait for it."""

import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

from firstlight.delivery.explain import explain_images
from firstlight.inference.inputs import Item


@pytest.fixture(scope="module")
def digit(digits):
    file = io.BytesIO()
    Image.fromarray(digits[0][900]).save(file, "PNG")
    return file.getvalue()


def pixels_of(answer):
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    return np.asarray(Image.open(io.BytesIO(answer.body)))


def test_the_heatmap_is_that_of_the_command_line(server, digit_run, digit):
    [expected] = explain_images(digit_run.model, [Item(digit)])
    assert np.array_equal(pixels_of(server.send_files(("a.png", digit), path="/explain")), expected.overlay())
    [expected] = explain_images(digit_run.model, [Item(digit)], class_="3")
    raw = server.ask("POST", "/explain?label=3", digit, content_type="image/png")
    assert np.array_equal(pixels_of(raw), expected.overlay())


@pytest.mark.parametrize(
    ("path", "files", "status", "words"),
    [
        ("/explain?label=unicorn", [b"a digit"], 422, "no such class"),
        ("/explain", [b"just text"], 422, "holds text"),
        ("/explain", [b"one", b"two"], 400, "send only one"),
        ("/explain", [], 400, "no files"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_a_reason(server, path, files, status, words):
    answer = server.send_files(*((f"{place}.png", data) for place, data in enumerate(files)), path=path)
    assert answer.status == status
    assert words in json.loads(answer.body)["error"]


def test_predictions_do_not_wait_for_heatmaps_and_too_many_heatmaps_are_refused(digit_run, digit, running, monkeypatch):
    from firstlight.delivery.serve import service as module

    monkeypatch.setattr(module, "MAX_HEATMAPS", 2)
    service = module.Service(digit_run.model, workers=1)
    go_on, drawing = threading.Event(), threading.Semaphore(0)

    def draw(_picture, _class):
        drawing.release()
        assert go_on.wait(60)
        return b"drawn"

    monkeypatch.setattr(service._heatmaps, "draw", draw)
    with running(service) as server:
        found = []
        ask = lambda: found.append(server.send_files(("a.png", digit), path="/explain").body)  # noqa: E731
        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert drawing.acquire(timeout=60)
        while service._explaining < 2:  # the second waits behind the first
            threading.Event().wait(0.01)
        assert server.send_files(("a.png", digit)).status == 200, "while a heatmap is being drawn"
        refused = server.send_files(("a.png", digit), path="/explain")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        go_on.set()
        for thread in threads:
            thread.join(60)
    assert found == [b"drawn", b"drawn"]
