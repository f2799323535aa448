"""Over HTTP a model answers what it answers on the command line, bit for bit."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import firstlight as fl
from firstlight.cli import main
from firstlight.delivery.serve.app import make_app


@pytest.fixture
def files(digit_folder, tmp_path, monkeypatch) -> list[str]:
    """Names of 20 images in the current folder, two of a hostile name, and one that is no image."""
    monkeypatch.chdir(tmp_path)
    sources = sorted(digit_folder.glob("*/*.png"))[::6]
    names = [f"{number}.png" for number in range(len(sources) - 2)] + ["<b>grün.png", "a;b.jpg"]
    for name, source in zip(names, sources, strict=True):
        Path(name).write_bytes(source.read_bytes())
    Path("broken.png").write_bytes(sources[0].read_bytes()[:60])
    return [*names[:5], "broken.png", *names[5:]]


def test_the_answer_is_that_of_the_command_line_bit_for_bit(server, digit_run, files, capsys):
    assert main(["predict", str(digit_run.folder), *files, "--json"]) == 0
    expected = capsys.readouterr().out
    answer = server.send_files(*((name, Path(name).read_bytes()) for name in files))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.body.decode() == expected


def test_one_image_as_the_body_has_no_name(server, digit_run, files, capsys):
    main(["predict", str(digit_run.folder), files[0], "--json"])
    [expected] = json.loads(capsys.readouterr().out)
    answer = server.ask("POST", "/predict", Path(files[0]).read_bytes(), content_type="image/png")
    assert answer.status == 200
    assert json.loads(answer.body) == [{**expected, "image": None}]


def test_only_images_that_cannot_be_used_are_422_with_the_same_rows(server, digit_run, files, capsys):
    assert main(["predict", str(digit_run.folder), "broken.png", "--json"]) == 2
    expected = capsys.readouterr().out
    answer = server.send_files(("broken.png", Path("broken.png").read_bytes()))
    assert (answer.status, answer.body.decode()) == (422, expected)
    assert server.ask("POST", "/predict", b"no image").status == 422


@pytest.mark.parametrize(
    ("body", "kind", "status", "reason"),
    [
        (b"", "image/png", 400, "has no body"),
        (b'{"url": "http://localhost/cat.jpg"}', "application/json", 415, "JSON"),
        (b"--XYZ--\r\n", "multipart/form-data; boundary=XYZ", 400, "no files"),
        (b"--XYZ--\r\n", "multipart/form-data", 400, "cannot be read"),
        (b"nothing of a form", "multipart/form-data; boundary=XYZ", 400, "cannot be read"),
        (
            b'--XYZ\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--XYZ--\r\n',
            "multipart/form-data; boundary=XYZ",
            400,
            "'x' of the form is not a file",
        ),
        (
            b'--XYZ\r\nContent-Disposition: form-data; name="x"; filename="a.png"\r\n\r\nsome',
            "multipart/form-data; boundary=XYZ",
            400,
            "ends before",
        ),
    ],
)
def test_a_request_without_images_is_told_what_to_send(server, body, kind, status, reason):
    answer = server.ask("POST", "/predict", body, content_type=kind)
    assert answer.status == status
    assert reason in json.loads(answer.body)["error"]


def test_health_and_the_card_answer(server, digit_run):
    assert server.ask("GET", "/health/live").status == 200
    assert server.ask("GET", "/health/ready").status == 200
    card = json.loads(server.ask("GET", "/model").body)
    assert (card["name"], tuple(card["classes"])) == ("digits-1", digit_run.model.classes)


def test_the_card_answers_for_class_names_that_are_no_valid_text():
    from firstlight.delivery.serve.metrics import Metrics

    classes = ("caf\udce9", "tea")
    model = fl.Classifier(architecture={"name": "mlp"}, classes=classes, input_size=(1, 8, 8))
    app = make_app(SimpleNamespace(model=model, name="drinks", metrics=Metrics()))
    [route] = [route for route in app.routes if getattr(route, "path", "") == "/model"]
    answer = asyncio.run(route.endpoint())
    assert tuple(json.loads(answer.body)["classes"]) == classes
