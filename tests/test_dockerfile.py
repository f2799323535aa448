"""What the Dockerfile promises, read from it: no root, nothing downloaded when it runs, no data in the image."""

import ast
import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from firstlight.cli.commands import Serve
from firstlight.cli.parser import read_words
from firstlight.delivery.serve.guard.tokens import TOKEN_VARIABLE

REPOSITORY = Path(__file__).parents[1]
TEXT = (REPOSITORY / "Dockerfile").read_text("utf-8")


def instructions():
    """Return the instructions of the Dockerfile as pairs of a word and its arguments, continued lines joined."""
    joined = re.sub(r"\\\n", "", re.sub(r"^\s*#.*\n", "", TEXT, flags=re.MULTILINE))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def last_stage():
    found = instructions()
    start = max(place for place, (word, _) in enumerate(found) if word == "FROM")
    return found[start:]


def of_last_stage(word):
    return [arguments for name, arguments in last_stage() if name == word]


def test_it_does_not_run_as_root():
    [user] = of_last_stage("USER")
    assert all(int(number) > 0 for number in user.split(":"))
    after = [word for word, _ in last_stage()]
    assert "RUN" not in after[after.index("USER") :]


def test_its_image_has_a_version():
    [base] = [arguments for word, arguments in instructions() if word == "ARG" and arguments.startswith("PYTHON_IMAGE")]
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+-slim-\w+", base)
    assert {arguments.split()[0] for word, arguments in instructions() if word == "FROM"} == {"${PYTHON_IMAGE}"}
    assert ":latest" not in TEXT


def test_nothing_but_packages_is_downloaded_and_from_no_address_of_ours():
    code = " ".join(f"{word} {arguments}" for word, arguments in instructions())
    assert not re.search(r"\b(curl|wget|ADD|git clone|apt-get)\b", code)
    assert "https://" not in TEXT
    assert ("ARG", "TORCH_INDEX") in instructions(), "it has no default"
    assert "FIRSTLIGHT_OFFLINE=1" in of_last_stage("ENV")[0]
    assert not [word for word, _ in last_stage() if word == "RUN"]


def test_its_bounds_are_those_of_the_project():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    for requirement in re.findall(r'"((?:torch|torchvision)>=[\d.]+)"', TEXT):
        assert requirement in project["dependencies"]
    lists = [*re.findall(r"\bEXTRAS=([\w,]+)", TEXT)]
    assert lists
    assert {extra for extras in lists for extra in extras.split(",")} <= project["optional-dependencies"].keys()
    assert ("RUN", 'pip install ".[${EXTRAS}]" ${PACKAGES:+"$PACKAGES"}') in instructions()


def test_it_writes_only_where_a_read_only_container_can():
    environment = of_last_stage("ENV")[0]
    assert "HOME=/tmp" in environment
    assert "FIRSTLIGHT_CACHE=/tmp/" in environment
    assert of_last_stage("WORKDIR") == ["/tmp"]


def test_it_serves_what_is_mounted_at_model_on_the_port_that_it_exposes():
    assert of_last_stage("ENTRYPOINT") == ['["firstlight"]']
    name, *words = json.loads(of_last_stage("CMD")[0])
    given = read_words(Serve, words)
    assert name == "serve"
    assert (str(given["model"]), given["host"]) == ("/model", "0.0.0.0")
    assert of_last_stage("EXPOSE") == [str(given["port"])]
    assert json.loads(of_last_stage("VOLUME")[0]) == ["/model"]
    assert of_last_stage("STOPSIGNAL") == ["SIGTERM"]


def test_no_token_is_in_it_and_the_one_of_the_environment_is_used_for_its_health():
    assert not [arguments for word, arguments in instructions() if word in ("ENV", "ARG") and "TOKEN" in arguments]
    [check] = of_last_stage("HEALTHCHECK")
    command = json.loads(check[check.index("[") :])
    assert command[:2] == ["python", "-c"]
    ast.parse(command[2])
    assert "/health/ready" in command[2]
    assert TOKEN_VARIABLE in command[2]


@pytest.mark.parametrize(
    ("status", "token", "code"), [(200, "x" * 16, 0), (503, "x" * 16, 1), (200, "wrong", 1)], ids=["up", "down", "401"]
)
def test_its_health_is_that_of_the_server(status, token, code, monkeypatch):
    import http.client

    asked = []

    class Server:
        def __init__(self, host, port, timeout):
            assert (host, port) == ("127.0.0.1", 8000)
            assert timeout < 4

        def request(self, method, path, headers):
            asked.append((method, path, headers["Authorization"]))

        def getresponse(self):
            self.status = status if asked[0][2] == f"Bearer {'x' * 16}" else 401
            return self

    monkeypatch.setattr(http.client, "HTTPConnection", Server)
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    [check] = of_last_stage("HEALTHCHECK")
    with pytest.raises(SystemExit) as ended:
        exec(json.loads(check[check.index("[") :])[2], {})
    assert int(ended.value.code) == code
    assert asked[0][:2] == ("GET", "/health/ready")


def test_no_data_gets_into_the_image():
    lines = [
        line for line in (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines() if line[:1] not in ("#", "")
    ]
    assert lines[0] == "*", "everything is left out but what is named"
    named = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert set(named) == {"LICENSE", "README.md", "pyproject.toml", "src", "guide/*.py"}
    for name in ("runs/a/model.safetensors", "data/x.jpg", ".git/config", ".env", "tests/test_x.py", "model.onnx"):
        assert not any(fnmatch(name, pattern) or name.startswith(f"{pattern}/") for pattern in named)
