"""What the server does not do, it says in one form; what it does wrong, it tells to the log alone."""

import json
import logging
import queue
from logging.handlers import QueueHandler

import pytest

from firstlight.delivery.serve.service import Service


@pytest.fixture
def logged():
    """Entries of the server's log, as they come."""
    entries: queue.Queue[logging.LogRecord] = queue.Queue()
    handler = QueueHandler(entries)
    logger = logging.getLogger("firstlight.serve")
    logger.addHandler(handler)
    yield entries
    logger.removeHandler(handler)


def test_a_mistake_of_ours_tells_the_client_nothing_and_the_log_everything(server, monkeypatch, logged):
    async def broken(self, uploads):
        raise ValueError(f"/home/somebody/secret.py: {uploads[0].name}")

    monkeypatch.setattr(Service, "predict", broken)
    answer = server.send_files(("a.png", b"x"))
    assert answer.status == 500
    assert json.loads(answer.body) == {"error": "something went wrong in the server; its log has the details"}
    entry = logged.get(timeout=20)
    assert "POST /predict failed" in entry.getMessage()
    assert "secret.py: a.png" in entry.getMessage()
    assert logged.empty()


def test_what_is_not_there_is_told_as_all_else_is(server):
    assert json.loads(server.ask("GET", "/nowhere").body) == {"error": "there is nothing at this address; see /docs"}
    assert json.loads(server.ask("PUT", "/predict").body) == {"error": "this address takes POST requests only"}
    assert server.ask("PUT", "/predict").headers["allow"] == "POST"
