"""What is too much is refused before it is decoded, and work for clients that have gone is dropped."""

import copy
import json
import re
import socket
import threading
import time
from pathlib import Path

import pytest
import torch

from firstlight.delivery.serve.service import Service

from .conftest import form, running


class Held:
    """An engine that answers as another one does, once it is let go."""

    name = "held"

    def __init__(self, engine):
        self.engine = engine
        self.go = threading.Event()
        self.began = threading.Event()

    def features_and_logits(self, images):
        self.began.set()
        assert self.go.wait(60)
        return self.engine.features_and_logits(images)


@pytest.fixture
def held(digit_run):
    from firstlight.inference.engines.torch_engine import TorchEngine

    return Held(TorchEngine(digit_run.model))


@pytest.fixture
def picture(digit_folder) -> bytes:
    return next(iter(digit_folder.glob("3/*.png"))).read_bytes()


def until(condition):
    """Wait until a condition holds; a minute at most."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it never holds")


def test_what_is_too_much_is_told_when_to_come_back(digit_run, held, picture):
    service = Service(digit_run.model, engine=held, workers=1, max_waiting=2)
    with running(service) as server:
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(server.ask("POST", "/predict", picture))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        until(lambda: service.waiting == 2)
        refused = server.ask("POST", "/predict", picture)
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert "waiting" in json.loads(refused.body)["error"]
        assert server.ask("GET", "/health/live").status == 200
        assert re.search(r"^firstlight_waiting_images 2$", server.ask("GET", "/metrics").body.decode(), re.MULTILINE)
        held.go.set()
        for thread in threads:
            thread.join(60)
        assert [answer.status for answer in answers] == [200, 200]
        until(lambda: service.waiting == 0)
        assert server.ask("POST", "/predict", picture).status == 200


def test_work_for_a_client_that_has_gone_is_dropped(digit_run, held, picture):
    service = Service(digit_run.model, engine=held, workers=1)
    with running(service) as server:
        first = threading.Thread(target=server.ask, args=("POST", "/predict", picture))
        first.start()
        assert held.began.wait(60)
        body = form(("a.png", picture))
        head = (
            f"POST /predict HTTP/1.1\r\nHost: {server.host}:{server.port}\r\nContent-Length: {len(body)}\r\n"
            "Content-Type: multipart/form-data; boundary=XYZ\r\n\r\n"
        )
        with socket.create_connection((server.host, int(server.port))) as gone:
            gone.sendall(head.encode() + body)
            until(lambda: service.waiting == 2)
        until(lambda: service.waiting == 1)
        held.go.set()
        first.join(60)
        until(lambda: service.waiting == 0)
        assert service.metrics.images == 1


def test_what_was_accepted_is_answered_when_the_server_ends(digit_run, held, picture):
    service = Service(digit_run.model, engine=held, workers=1)
    answers = []
    with running(service) as server:
        asking = threading.Thread(target=lambda: answers.append(server.ask("POST", "/predict", picture)))
        asking.start()
        assert held.began.wait(60)
        service.drain()
        assert server.ask("GET", "/health/ready").status == 503
        threading.Timer(0.3, held.go.set).start()
    asking.join(60)
    assert [answer.status for answer in answers] == [200]
    with pytest.raises(OSError, match="refused"):
        server.ask("GET", "/health/live")


def test_the_counts_are_prometheus_text_without_a_name_from_outside(server, picture):
    server.send_files(("<b>.png", picture), ("broken.png", picture[:50]))
    server.ask("GET", "/no/such/<b>")
    answer = server.ask("GET", "/metrics")
    text = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    line = re.compile(r'(# (HELP|TYPE) firstlight_\w+ .+|firstlight_\w+(\{(\w+="[\w/+.]+",?)+\})? [0-9.e+-]+)')
    assert all(line.fullmatch(one) for one in text.splitlines()), text
    assert "<b>" not in text
    assert re.search(r'^firstlight_requests_total\{path="/predict",code="200"\} [1-9]', text, re.MULTILINE)
    assert re.search(r'^firstlight_requests_total\{path="other",code="404"\} [1-9]', text, re.MULTILINE)
    assert re.search(r'^firstlight_image_errors_total\{kind="image"\} [1-9]', text, re.MULTILINE)
    assert re.search(r"^firstlight_batch_images_count [1-9]", text, re.MULTILINE)


def test_the_documentation_needs_no_network_and_no_script(server):
    answer = server.ask("GET", "/docs")
    page = answer.body.decode()
    assert answer.status == 200
    assert "POST /predict" in page
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)
    paths = json.loads(server.ask("GET", "/openapi.json").body)["paths"]
    assert {"/predict", "/model", "/metrics", "/v2/models/{name}/infer"} <= paths.keys()
    assert "multipart/form-data" in paths["/predict"]["post"]["requestBody"]["content"]


def test_without_the_extra_one_line_says_what_to_install(digit_run, monkeypatch, capsys):
    import sys

    from firstlight.cli import main

    for name in [*sys.modules]:
        if name.startswith("firstlight.delivery.serve.") or name == "firstlight.delivery.serve":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve", str(digit_run.folder), "--port", "0", "--engine", "torch"]) == 2
    error = capsys.readouterr().err
    assert error == "firstlight: fastapi is not installed; pip install 'firstlight[serve]'\n"
    assert Path(digit_run.folder).is_dir()


def test_an_answer_that_is_no_number_is_an_error_at_every_address(digit_run, picture):
    broken = copy.deepcopy(digit_run.model)
    with torch.no_grad():
        broken.network.head.bias[0] = -torch.inf  # the other probabilities stay finite
    images = {"name": "images", "shape": [1, 8, 8, 1], "datatype": "UINT8", "data": [0] * 64}
    binary = {"inputs": [images], "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}]}
    with running(Service(broken, name="m", workers=1)) as server:
        for path, body in {
            "/predict": picture,
            "/explain": picture,
            "/v2/models/m/infer": json.dumps({"inputs": [images]}).encode(),
            "/v2/models/m/infer?binary": json.dumps(binary).encode(),
        }.items():
            answer = server.ask("POST", path, body)
            assert answer.status == 422
            told = json.loads(answer.body, parse_constant=pytest.fail)
            assert "no finite number" in (told[0] if path == "/predict" else told)["error"]


def test_small_answers_are_sent_at_once():
    """asyncio switches Nagle's algorithm off where a socket says that it speaks TCP."""
    from firstlight.delivery.serve.binding import bind

    [bound] = bind("127.0.0.1", 0, has_token=False)
    with bound:
        bound.listen()
        with socket.create_connection(bound.getsockname()):
            accepted, _ = bound.accept()
            with accepted:
                assert accepted.proto == socket.IPPROTO_TCP
