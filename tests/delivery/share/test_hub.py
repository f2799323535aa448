"""A model on the hub is read by its address; only whole model files of ours stay in the cache."""

import pickle
import threading
from pathlib import Path

import numpy as np
import pytest

import firstlight as fl
from firstlight.delivery.share.card import card_of
from firstlight.errors import DownloadError, ModelFileError, UserError
from firstlight.models import hub as module
from firstlight.models.hub import HubAddress, fetch_model
from firstlight.progress import announcements_to
from firstlight.runs.folder import model_file

TOKEN = "hf_canary0123456789"


@pytest.fixture
def content(array_run):
    return (array_run.folder / "model.safetensors").read_bytes()


@pytest.fixture
def published(hub, content):
    """The hub, with a model in ada/birds."""
    hub.add("ada/birds", {"model.safetensors": content, "README.md": b"# birds", "pytorch_model.bin": b"\x80\x04."})
    return hub


def cached(hub, tmp_path):
    """Return the names of all files that are in the cache."""
    return [file.name for file in (tmp_path / "hub").rglob("*") if file.is_file() and "blobs" in file.parts]


def downloads(hub):
    return [asked for asked, *_ in hub.asked if asked.startswith("GET") and "/resolve/" in asked]  # of files


def test_a_model_on_the_hub_gives_the_answers_of_its_file(published, array_run, some_digits):
    images = some_digits[0][:20]
    there, here = fl.load("hf:ada/birds"), fl.load(array_run.folder)
    assert np.array_equal(there.predict_proba(list(images)), here.predict_proba(list(images)))
    assert card_of(there).name == "birds"


def test_only_the_model_file_is_downloaded(published, tmp_path):
    fetch_model("hf:ada/birds")
    assert {asked.rsplit("/", 1)[-1] for asked, *_ in published.asked if "resolve" in asked} == {"model.safetensors"}
    assert len(cached(published, tmp_path)) == 1


def test_every_place_that_takes_a_model_takes_its_address(published, some_digits):
    assert len(fl.predict("hf:ada/birds", list(some_digits[0][:3]))) == 3
    assert fl.evaluate("hf:ada/birds", some_digits, split="all").evaluation.n == len(some_digits[0])
    assert model_file(Path("hf:ada/birds")).name == "model.safetensors"  # as the command line gives it
    assert card_of("hf:ada/birds").name == "birds"


def test_nothing_is_written_into_the_cache_beside_it(published):
    for to in ("card", "onnx"):
        with pytest.raises(UserError, match="in a cache, not in a folder of yours; name the file with `out`"):
            fl.export("hf:ada/birds", to)


def test_one_line_announces_that_the_network_is_used(published):
    lines = []
    with announcements_to(lines.append):
        fetch_model("hf:ada/birds")
    assert lines == ["reading hf:ada/birds from 127.0.0.1, if it is not in the cache yet"]


def test_what_is_in_the_cache_is_not_downloaded_again(published):
    fetch_model("hf:ada/birds")
    published.asked.clear()
    fetch_model("hf:ada/birds")
    assert downloads(published) == []


def test_a_newer_version_is_downloaded_and_an_older_one_can_be_named(published, content, tmp_path, array_run):
    first = list(published.repositories["ada/birds"].commits)[0]
    old = fetch_model("hf:ada/birds").read_bytes()
    fl.save(tmp_path / "new.safetensors", fl.load(array_run.folder), extra={"version": 2})
    published.add("ada/birds", {"model.safetensors": (tmp_path / "new.safetensors").read_bytes()})
    assert fetch_model("hf:ada/birds").read_bytes() == (tmp_path / "new.safetensors").read_bytes()
    assert fetch_model(f"hf:ada/birds@{first}").read_bytes() == old == content


def test_a_commit_in_the_cache_needs_no_network(published):
    commit = list(published.repositories["ada/birds"].commits)[0]
    fetch_model(f"hf:ada/birds@{commit}")
    published.asked.clear()
    fetch_model(f"hf:ada/birds@{commit}")
    assert published.asked == []


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "FIRSTLIGHT_OFFLINE"])
def test_offline_the_cache_is_used_and_nothing_is_asked(variable, published, monkeypatch):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(DownloadError, match=f"hf:ada/birds: it is not on this machine, and {variable} is set"):
        fetch_model("hf:ada/birds")
    monkeypatch.delenv(variable)
    path = fetch_model("hf:ada/birds")
    monkeypatch.setenv(variable, "1")
    published.asked.clear()
    assert fetch_model("hf:ada/birds") == path
    assert published.asked == []


def test_without_an_answer_the_cache_is_used_and_that_is_told(published, monkeypatch):
    path = fetch_model("hf:ada/birds")
    published.faults["HEAD"] = 503
    lines = []
    with announcements_to(lines.append):
        assert fetch_model("hf:ada/birds") == path
    assert "cannot be reached" in lines[1]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_may_no_longer_be_read_is_not_taken_from_the_cache(status, published):
    fetch_model("hf:ada/birds")
    published.faults["HEAD"] = status
    with pytest.raises(DownloadError):
        fetch_model("hf:ada/birds")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"HEAD": 401}, "no such repository, or you may not see it"),
        ({"HEAD": 403}, "does not permit"),
        ({"HEAD": 404}, "no such repository"),
        ({"HEAD": 500}, "the hub answers 500"),
        ({"HEAD": b""}, "cannot be downloaded"),
        ({"GET /large": 500}, "the hub answers 500"),
        ({"GET /large": 404}, "no such repository"),
        ({"GET /large": b"short"}, "size"),
    ],
    ids=str,
)
def test_what_the_hub_refuses_is_one_line_and_leaves_nothing(fault, words, published, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    published.faults |= fault
    with pytest.raises(ModelFileError, match=words) as refused:
        fetch_model("hf:ada/birds")
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("hf:ada/birds cannot be downloaded from 127.0.0.1: ")
    assert TOKEN not in str(refused.value)
    assert cached(published, tmp_path) == []


def test_a_hub_that_never_answers_is_given_up(published, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    released = published.faults["HEAD"] = threading.Event()
    with pytest.raises(DownloadError, match="timed out|no answer"):
        fetch_model("hf:ada/birds")
    released.set()


def test_without_a_network_one_line_says_so_at_once(published, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"it waits {seconds} s for a network"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://huggingface.co")
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        "https://huggingface.co/{repo_id}/resolve/{revision}/{filename}",
    )
    with pytest.raises(DownloadError, match=r"cannot be downloaded from huggingface\.co: .*tests have no network"):
        fetch_model("hf:ada/birds")


def changed(content):
    """Return a model file with one bit of its last tensor changed."""
    return content[:-1] + bytes([content[-1] ^ 1])


def test_bytes_that_are_not_those_that_the_hub_states_are_refused_and_not_kept(published, content, tmp_path):
    published.faults["GET /large"] = changed(content)
    with pytest.raises(ModelFileError, match="^hf:ada/birds: its SHA-256 is not the one that the hub states"):
        fetch_model("hf:ada/birds")
    assert cached(published, tmp_path) == []
    published.faults.clear()
    fetch_model("hf:ada/birds")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (changed, "does not match its own SHA-256"),
        (lambda _: pickle.dumps({"weights": [0.0] * 5000}), "safetensors"),
        (lambda _: b"PK\x03\x04" + b"0" * 5000, "safetensors"),
        (lambda content: content[:-100], "cut|short|damaged"),
    ],
    ids=["changed", "pickle", "zip", "cut"],
)
def test_what_is_no_whole_model_file_is_refused_and_not_kept(wrong, words, hub, content, tmp_path):
    hub.add("ada/birds", {"model.safetensors": wrong(content)})
    with pytest.raises(ModelFileError, match=words) as refused:
        fetch_model("hf:ada/birds")
    assert str(refused.value).startswith("hf:ada/birds: ")
    assert str(tmp_path) not in str(refused.value)
    assert cached(hub, tmp_path) == []


def test_a_repository_with_a_pickle_only_is_refused(hub):
    hub.add("ada/birds", {"pytorch_model.bin": pickle.dumps([1.0] * 3000)})
    with pytest.raises(DownloadError, match=r"it has no model\.safetensors, and firstlight reads no other file"):
        fetch_model("hf:ada/birds")
    assert downloads(hub) == []


def test_a_revision_that_is_not_there_is_told(published):
    with pytest.raises(DownloadError, match="hf:ada/birds@v9 .*it has no such revision"):
        fetch_model("hf:ada/birds@v9")


def test_the_token_is_given_to_the_hub_and_to_no_other_host(hub, content):
    hub.add("ada/birds", {"model.safetensors": content}, private=True)
    fetch_model("hf:ada/birds")
    by_host = {host.partition(":")[0]: token for _, host, token in hub.asked}
    assert by_host == {"127.0.0.1": f"Bearer {TOKEN}", "localhost": None}


def test_a_private_model_without_a_token_is_refused(hub, content, monkeypatch):
    hub.add("ada/birds", {"model.safetensors": content}, private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(DownloadError, match="HF_TOKEN"):
        fetch_model("hf:ada/birds")


@pytest.mark.parametrize(
    ("text", "repository", "revision"),
    [
        ("hf:ada/birds", "ada/birds", "main"),
        ("hf:ada/birds@v1.0", "ada/birds", "v1.0"),
        ("hf:ada/birds@refs/pr/1", "ada/birds", "refs/pr/1"),
        ("hf://ada/birds", "ada/birds", "main"),
        ("hf:/ada/birds", "ada/birds", "main"),
    ],
)
def test_an_address_names_a_repository_and_a_revision(text, repository, revision):
    assert HubAddress.of(text) == HubAddress(repository, revision)


@pytest.mark.parametrize(
    "text",
    ["hf:", "hf:birds", "hf:ada/birds/model.bin", "hf:../..", "hf:ada/..", "hf:ada/b@../x", "hf:a b/c", "hf:é/x",
     "hf:ada/birds@", "hf:ada/birds\n", "hf:https://evil.example/x", "hf:ada/birds?x=1", "hf:datasets/ada/birds"],
)  # fmt: skip
def test_what_is_no_address_is_refused_and_nothing_is_asked(text, hub):
    with pytest.raises(ModelFileError, match="write hf:user/name"):
        fetch_model(text)
    assert hub.asked == []


def test_the_library_writes_nothing(published, capfd, array_run):
    published.faults["HEAD"] = 500
    with pytest.raises(DownloadError):
        fetch_model("hf:ada/birds")
    published.faults.clear()
    fetch_model("hf:ada/birds")
    assert capfd.readouterr() == ("", "")
