"""What browsers are told on every response."""

from firstlight.delivery.serve.guard.guarded import guarded
from firstlight.delivery.serve.guard.headers import SECURITY_HEADERS, SecurityHeaders
from firstlight.delivery.serve.guard.limits import Limits

NAMES = {name.decode() for name, _ in SECURITY_HEADERS}


def test_every_answer_and_every_refusal_has_them(call, counting):
    app = guarded(counting, token="t" * 16, open_paths=["/"], limits=Limits(body_bytes=10))
    answers = [
        call(app),
        call(app, path="/model"),
        call(app, headers=[("Host", "evil.example")]),
        call(app, headers=[("Host", "localhost"), ("Origin", "null")]),
        call(app, headers=[("Host", "localhost"), ("Content-Length", "11")]),
    ]
    assert [answer.status for answer in answers] == [200, 401, 403, 403, 413]
    for answer in answers:
        assert answer.headers.keys() >= NAMES
    assert not NAMES & call(counting).headers.keys()  # without the guard


def test_no_script_or_style_in_the_page_itself_and_no_other_host(call, counting):
    policy = call(SecurityHeaders(counting)).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "*" not in policy


def test_the_camera_is_for_the_page_and_nothing_else_is(call, counting):
    headers = call(SecurityHeaders(counting)).headers
    assert "camera=(self)" in headers["permissions-policy"]
    assert "microphone=()" in headers["permissions-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_the_application_cannot_weaken_them(call):
    async def careless(scope, receive, send):
        headers = [(b"Cache-Control", b"public"), (b"content-security-policy", b"default-src *"), (b"Server", b"x/1.0")]
        await send({"type": "http.response.start", "status": 200, "headers": [*headers, (b"x-own", b"1")]})
        await send({"type": "http.response.body", "body": b""})

    headers = call(SecurityHeaders(careless)).headers
    assert headers["cache-control"] == "no-store"
    assert "*" not in headers["content-security-policy"]
    assert "server" not in headers
    assert headers["x-own"] == "1"
