"""The token is asked for everywhere but on the page, compared in constant time, and shown nowhere."""

import hmac
from http import HTTPMethod

import pytest

from firstlight.delivery.serve.guard.tokens import RequireToken, check_token
from firstlight.errors import UserError

OPEN = {"/", "/page.css", "/page.js", "/health/live"}
TOKEN = "correct-horse-battery-staple"


@pytest.fixture
def app(counting):
    return RequireToken(counting, TOKEN, OPEN)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_the_token_opens(call, app, scheme):
    assert call(app, "POST", "/predict", [("Authorization", scheme + TOKEN)]).status == 200


@pytest.mark.parametrize(
    "value",
    [
        "", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer{TOKEN}",
        f"Bearer {TOKEN.upper()}", "Bearer null", "Bearer undefined", f"Token {TOKEN}", f"Bearer x {TOKEN}",
        f"Bearer {TOKEN}, Bearer x", "Bearer \xff\xfe", f"Bearer {'x' * 100_000}",
    ],
)  # fmt: skip
def test_anything_else_is_refused_and_told_how(call, app, counting, value):
    answer = call(app, "POST", "/predict", [("Authorization", value)])
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="firstlight"'
    assert "Authorization: Bearer TOKEN" in answer.error
    assert TOKEN not in answer.error
    assert not counting.paths
    assert call(counting, "POST", "/predict", [("Authorization", value)]).status == 200  # without the check


def test_no_token_and_two_tokens_are_refused(call, app):
    assert call(app, "POST", "/predict", []).status == 401
    assert call(app, "POST", "/predict", [("Authorization", f"Bearer {TOKEN}")] * 2).status == 401


@pytest.mark.parametrize("method", list(HTTPMethod))
def test_only_the_page_and_whether_the_server_runs_are_open(call, app, method):
    is_open = {path: call(app, str(method), path, []).status == 200 for path in (*OPEN, "/predict", "/metrics")}
    assert {path for path, open_ in is_open.items() if open_} == (OPEN if method in ("GET", "HEAD") else set())


@pytest.mark.parametrize(
    "path", ["//", "/page.js/", "/page.js/../model", "/PAGE.JS", "/./", "", "/health/live/", "/health", "/page.js\0"]
)
def test_paths_that_look_like_the_page_are_not_open(call, app, path):
    assert call(app, "GET", path, []).status == 401


def test_a_token_in_the_url_does_not_open(call, counting):
    assert call(RequireToken(counting, TOKEN), "POST", f"/predict?token={TOKEN}", []).status == 401


def test_tokens_are_compared_in_constant_time(call, app, monkeypatch):
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or False)
    call(app, "POST", "/predict", [("Authorization", "Bearer wrong")])
    assert compared == [(b"wrong", TOKEN.encode())]


@pytest.mark.parametrize(
    "token", ["", "secret", "x" * 15, "with a space in the middle", "new\nline" * 4, "ünïcödé" * 4]
)
def test_a_token_that_is_short_or_cannot_be_sent_is_refused_without_repeating_it(token):
    with pytest.raises(UserError) as error:
        check_token(token)
    assert not token or token not in str(error.value)
    assert "openssl rand" in str(error.value)
    assert check_token(TOKEN) == TOKEN
