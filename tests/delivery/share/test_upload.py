"""Files reach the hub in one commit, and whatever fails there ends in one line and leaves the repository as it was."""

import threading

import pytest

from firstlight.delivery.share import upload
from firstlight.delivery.share.upload import look_up
from firstlight.errors import UserError
from firstlight.progress import announcements_to

TOKEN = "hf_canary0123456789"


@pytest.fixture
def files(tmp_path):
    found = {}
    for name, size in (("model.safetensors", 50_000), ("README.md", 100), ("golden/0.png", 300)):
        file = tmp_path / name.replace("/", "-")
        file.write_bytes(bytes(range(256)) * (size // 256) + b"end")
        found[name] = file
    found["README.md"].write_text("---\nlicense: mit\n---\n# model\n")
    return found


def push(repository, files):
    return upload.push(look_up(repository), files)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)


def test_what_is_pushed_is_there(hub, files):
    made = push("ada/birds", files)
    assert hub.files("ada/birds") == {name: file.read_bytes() for name, file in files.items()}
    assert made.files == {name: file.stat().st_size for name, file in files.items()}
    assert made.commit in hub.repositories["ada/birds"].commits
    assert made.url == f"{hub.url}/ada/birds"


def test_a_new_repository_is_private(hub, files):
    assert push("ada/birds", files).private
    assert hub.repositories["ada/birds"].private


def test_what_will_be_uploaded_is_told_before_anything_is_sent(hub, files):
    sent_before = []

    def told(line):
        sent_before.append((line, [asked for asked, *_ in hub.asked if asked.startswith(("POST", "PUT"))]))

    with announcements_to(told):
        push("ada/birds", files)
    [(line, sent)] = sent_before
    assert sent == []
    assert "uploading to 127.0.0.1/ada/birds (new, private): model.safetensors (49.9 kB), README.md (29 bytes)" in line


def test_a_public_repository_stays_public_and_is_called_so(hub, files):
    hub.add("ada/birds", {"README.md": b"mine"}, private=False)
    lines = []
    with announcements_to(lines.append):
        made = push("ada/birds", files)
    assert not made.private
    assert "(public: everyone can see it)" in lines[0]


def test_the_token_is_never_told_and_never_leaves_for_another_host(hub, files):
    lines = []
    hub.faults["PUT"] = 403
    with announcements_to(lines.append), pytest.raises(UserError) as refused:
        push("ada/birds", files)
    assert TOKEN not in " ".join(lines) + str(refused.value)
    assert all(token is None for asked, _, token in hub.asked if asked.startswith("PUT"))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"POST /api/models/.*/commit": 500}, "the hub answers 500"),
        ({"POST /api/models/.*/preupload": 503}, "the hub answers 503"),
        ({"PUT": 500}, "the hub answers 500"),
        ({"POST /api/repos/create": 403}, "does not permit"),
        ({"GET /api/models/": 429}, "too many requests"),
        ({"GET /api/whoami": 401}, "HF_TOKEN"),
        ({"POST /api/models/.*/commit": b"<html>"}, "failed"),
        ({"POST .*/batch": b'{"objects": 3}'}, "failed"),
    ],
    ids=str,
)
def test_what_the_hub_refuses_is_one_line_and_puts_nothing_there(fault, words, hub, files):
    hub.faults |= fault
    with pytest.raises(UserError, match=words) as refused:
        push("ada/birds", files)
    assert "\n" not in str(refused.value)
    assert not (hub.repositories.get("ada/birds") and hub.files("ada/birds"))
    assert len(hub.asked) < 15, "it gives up after a few failures"


def test_a_hub_that_never_answers_is_given_up(hub, files, monkeypatch):
    monkeypatch.setattr(upload, "FIRST_ANSWER_SECONDS", 0.2)
    hang = threading.Event()
    monkeypatch.setattr("huggingface_hub.HfApi.repo_info", lambda *_, **__: hang.wait(20))
    with pytest.raises(UserError, match=r"no answer in 0\.2 seconds"):
        push("ada/birds", files)
    hang.set()


def test_a_hub_that_stops_answering_later_is_given_up(hub, files, monkeypatch):
    monkeypatch.setattr(upload, "SILENT_SECONDS", 0.1)
    released = hub.faults["POST /api/models/.*/preupload"] = threading.Event()
    with pytest.raises(UserError, match="timed out|no answer"):
        push("ada/birds", files)
    released.set()


def test_without_a_network_one_line_says_so(hub, files, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://huggingface.co")
    with pytest.raises(UserError, match=r"ada/birds: the upload to huggingface\.co failed \(.*tests have no network"):
        push("ada/birds", files)


def test_the_limits_are_taken_off_again(hub, files):
    from huggingface_hub import get_session

    before = get_session().timeout
    push("ada/birds", files)
    assert get_session().timeout == before
    assert "send" not in vars(get_session())


@pytest.mark.parametrize(
    "name", ["", "birds", "a/b/c", "../x", "ada/..", "ada/b--b", "ada/b b", "hf:ada/birds", "ada/-x"]
)
def test_what_is_no_repository_is_refused(name, hub):
    with pytest.raises(UserError, match="write user/name"):
        look_up(name)


def test_what_cannot_be_uploaded_to_is_refused_before_any_work(hub, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
            look_up("ada/birds")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match=r"no token for 127\.0\.0\.1; set HF_TOKEN"):
        look_up("ada/birds")
    assert hub.asked == []
