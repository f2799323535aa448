"""A mistake of ours tells a client nothing, and the log everything, one line for each entry."""

import asyncio
import contextlib
import logging

import pytest

from firstlight.delivery.serve.guard.logs import CHATTY, LOGGERS, OneLineFormatter, logged_to_stderr
from firstlight.delivery.serve.guard.mistakes import HideMistakes

SECRET = "/home/somebody/secret.py"


async def broken(scope, receive, send):
    raise ValueError(f"{SECRET} is broken\n2026-01-01 00:00:00 WARNING a line that nobody logged \x1b[31m")


def test_a_client_learns_nothing_of_what_went_wrong(call, capsys):
    with logged_to_stderr():
        answer = call(HideMistakes(broken), "POST", "/predict")
    assert (answer.status, answer.error) == (500, "something went wrong in the server; its log has the details")
    with pytest.raises(ValueError, match="secret"):
        call(broken)
    logged = capsys.readouterr().err
    assert SECRET in logged
    assert "POST /predict failed" in logged
    assert "\x1b" not in logged


def test_nothing_that_a_client_sends_looks_like_an_entry_of_the_log(call, capsys):
    with logged_to_stderr():
        call(HideMistakes(broken), "GET", "/a\n2026-01-01 00:00:00 ERROR forged\r\x1b]0;title\x07\u2028x")
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if not line.startswith("    | ")]) == 1
    assert "forged" in lines[0]
    assert all(line.isprintable() for line in lines)


def test_without_the_formatter_it_would(call, caplog):
    with caplog.at_level(logging.ERROR, "firstlight.serve"):
        call(HideMistakes(broken), "GET", "/a\nforged")
    assert "\nforged" in caplog.text


def test_long_entries_are_cut():
    record = logging.LogRecord("x", logging.ERROR, "", 0, "a" * 100_000, (), None)
    assert len(OneLineFormatter().format(record)) < 2100


def test_a_request_that_is_stopped_is_told_so():
    sent = []

    async def stopped(scope, receive, send):
        raise asyncio.CancelledError

    async def send(message):
        sent.append(message)

    asyncio.run(HideMistakes(stopped)({"type": "http", "method": "GET", "path": "/"}, None, send))
    assert sent[0]["status"] == 503
    assert b"stopping" in sent[1]["body"]


def test_an_answer_that_has_begun_is_not_begun_again(call):
    async def half(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError

    assert call(HideMistakes(half)).status == 200


def test_damaged_forms_are_not_logged_and_afterwards_all_is_as_before(capsys):
    from python_multipart.multipart import MultipartParser

    levels = [logging.getLogger(name).level for name in (*LOGGERS, *CHATTY)]
    with logged_to_stderr(), contextlib.suppress(ValueError):
        MultipartParser(b"XYZ", {}).write(b"no form")
    assert capsys.readouterr().err == ""
    assert levels == [logging.getLogger(name).level for name in (*LOGGERS, *CHATTY)]
    with logged_to_stderr():
        logging.getLogger("python_multipart.multipart").critical("heard")
    assert "heard" in capsys.readouterr().err
