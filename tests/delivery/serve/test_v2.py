"""The Open Inference Protocol answers what the model says, as JSON and as bytes."""

import json

import numpy as np
import pytest
import torch

from firstlight.inference.predictor import Predictor

LENGTH = "inference-header-content-length"
NAMES = ("probabilities", "logits", "features", "strangeness")


@pytest.fixture(scope="module")
def images(digits):
    return np.ascontiguousarray(digits[0][:5, :, :, None])


@pytest.fixture(scope="module")
def expected(digit_run, images):
    answers = Predictor(digit_run.model).engine(torch.from_numpy(images).permute(0, 3, 1, 2))
    return {name: column.numpy() for name, column in zip(NAMES, answers, strict=True) if column is not None}


def ask(server, body, **headers):
    return server.ask("POST", "/v2/models/digits-1/infer", body, **headers)


def as_json(images, **more):
    given = {"name": "images", "shape": list(images.shape), "datatype": "UINT8", "data": images.tolist()}
    return json.dumps({"inputs": [given], **more}).encode()


def test_the_server_and_the_model_say_what_they_are(server, expected):
    assert json.loads(server.ask("GET", "/v2").body)["name"] == "firstlight"
    assert json.loads(server.ask("GET", "/v2/health/live").body) == {"live": True}
    assert json.loads(server.ask("GET", "/v2/health/ready").body) == {"ready": True}
    assert json.loads(server.ask("GET", "/v2/models/digits-1/ready").body)["ready"] is True
    model = json.loads(server.ask("GET", "/v2/models/digits-1").body)
    assert model["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 8, 8, 1]}]
    assert {one["name"]: one["shape"][1:] for one in model["outputs"]} == {
        name: list(column.shape[1:]) for name, column in expected.items()
    }
    assert server.ask("GET", "/v2/models/other").status == 404
    assert server.ask("GET", "/v2/models/other/ready").status == 404


def test_json_in_and_out_has_the_bits_of_the_predictor(server, images, expected):
    answer = ask(server, as_json(images, id="7"))
    found = json.loads(answer.body)
    assert (answer.status, found["id"], found["model_name"]) == (200, "7", "digits-1")
    for output in found["outputs"]:
        values = np.array(output["data"], np.float32).reshape(output["shape"])
        np.testing.assert_array_equal(values, expected[output["name"]])
    assert {output["name"] for output in found["outputs"]} == expected.keys()


def test_bytes_in_and_out_have_them_too(server, images, expected):
    given = {
        "name": "images",
        "shape": list(images.shape),
        "datatype": "UINT8",
        "parameters": {"binary_data_size": images.size},
    }
    wanted = [{"name": "logits", "parameters": {"binary_data": True}}, {"name": "probabilities"}]
    head = json.dumps({"inputs": [given], "outputs": wanted}).encode()
    answer = ask(server, head + images.tobytes(), **{LENGTH.replace("-", "_"): str(len(head))})
    assert answer.status == 200
    length = int(answer.headers[LENGTH])
    logits, probabilities = json.loads(answer.body[:length])["outputs"]
    assert logits["parameters"]["binary_data_size"] == len(answer.body) - length
    values = np.frombuffer(answer.body, "<f4", offset=length).reshape(logits["shape"])
    np.testing.assert_array_equal(values, expected["logits"])
    assert probabilities["data"] == expected["probabilities"].ravel().tolist()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"no json", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"inputs": []}', "one input"),
        (b'{"inputs": [{"name": "images"}]}', "UINT8"),
        (b'{"inputs": [{"name": "images", "shape": [1, 8, 8, 1], "datatype": "FP32"}]}', "UINT8"),
        (b'{"inputs": [{"name": "images", "shape": [9999999, 8, 8, 1], "datatype": "UINT8"}]}', "from 1 to"),
        (b'{"inputs": [{"name": "images", "shape": [1, 8, 8, 1], "datatype": "UINT8", "data": [1, 2]}]}', "64 numbers"),
        (
            b'{"inputs": [{"name": "images", "shape": [1, 8, 8, 1], "datatype": "UINT8", "data": [[1], 2]}]}',
            "64 numbers",
        ),
        (b'{"inputs": [{"name": "images", "shape": [1, 8, 8, 1], "datatype": "UINT8"}]}', "64 numbers"),
    ],
)
def test_a_request_that_cannot_be_read_is_told_why(server, body, reason):
    answer = ask(server, body)
    assert answer.status == 400
    assert reason in json.loads(answer.body)["error"]


def test_wrong_numbers_lengths_and_outputs_are_refused(server, images):
    assert ask(server, as_json(images.astype(int) + 256)).status == 400
    assert ask(server, as_json(images / 255)).status == 400
    assert ask(server, as_json(images), **{LENGTH.replace("-", "_"): "99999999"}).status == 400
    assert "choose" in json.loads(ask(server, as_json(images, outputs=[{"name": "label"}])).body)["error"]
    assert ask(server, as_json(images) + b" " * 4_000_000).status == 413
