"""Whose requests are answered: those for this machine, and from its own page."""

import pytest

from firstlight.delivery.serve.guard.hosts import CheckHost, Host, allowed_host, parse_host
from firstlight.errors import UserError

OWN = [
    "localhost", "localhost:8000", "LOCALHOST:8000", "localhost.", "127.0.0.1", "127.0.0.1:8000", "127.8.8.8:80",
    "[::1]", "[::1]:8000",
]  # fmt: skip
REBOUND = [
    "evil.example", "evil.example:8000", "localhost.evil.example", "localhost.evil.example:8000", "127.0.0.1.nip.io",
    "evil-localhost", "notlocalhost:8000", "127.0.0.1.evil.example:8000", "192.168.1.7:8000", "10.0.0.1",
    "0.0.0.0:8000", "169.254.169.254", "[::]", "[fe80::1]:8000", "[::ffff:10.0.0.1]", "8.8.8.8",
    "xn--lcalhost-bza:8000", "local", "1",
]  # fmt: skip
NO_HOST = [
    "", ":8000", "localhost:", "localhost:0", "localhost:99999", "localhost:8000:8000", "localhost:80a", "a b", "a/b",
    "localhost/", "http://localhost", "user@localhost", "localhost@evil.example", "localhost,evil.example", "[::1",
    "::1", "[localhost]", "[127.0.0.1]x", "localhost\x00", "localhost\n", "lоcalhost".encode().decode("latin-1"), "١",
]  # fmt: skip


@pytest.mark.parametrize("host", OWN)
def test_this_machine_is_answered_under_its_own_names(call, counting, host):
    assert call(CheckHost(counting), headers=[("Host", host)]).status == 200


@pytest.mark.parametrize("host", REBOUND)
def test_a_name_that_somebody_has_pointed_here_is_refused(call, counting, host):
    answer = call(CheckHost(counting), headers=[("Host", host)])
    assert answer.status == 403
    assert "allow-host" in answer.error
    assert not counting.paths
    assert call(counting, headers=[("Host", host)]).status == 200  # without the check


@pytest.mark.parametrize("host", NO_HOST)
def test_what_is_no_host_is_refused(call, counting, host):
    host = host.encode("utf-8").decode("latin-1")
    assert call(CheckHost(counting, any_address=True), headers=[("Host", host)]).status == 400
    assert not counting.paths


def test_a_request_names_one_host(call, counting):
    assert call(CheckHost(counting), headers=[]).status == 400
    assert call(CheckHost(counting), headers=[("Host", "localhost"), ("Host", "localhost")]).status == 400


def test_a_long_or_odd_name_cannot_break_the_answer(call, counting):
    answer = call(CheckHost(counting), headers=[("Host", "a" * 250)])
    assert (answer.status, len(answer.error) < 250) == (403, True)


def test_names_that_the_user_allows_are_answered_with_the_port_that_the_user_gave(call, counting):
    app = CheckHost(counting, ["Photos.example.org", "other.example:9000"])
    status = {
        host: call(app, headers=[("Host", host)]).status
        for host in (
            "photos.example.org",
            "photos.example.org:8000",
            "other.example:9000",
            "other.example",
            "a.example",
        )
    }
    assert list(status.values()) == [200, 200, 200, 403, 403]


def test_on_a_network_every_address_is_answered_but_no_name(call, counting):
    app = CheckHost(counting, any_address=True)
    assert call(app, headers=[("Host", "192.168.1.7:8000")]).status == 200
    assert call(app, headers=[("Host", "[fd00::7]:8000")]).status == 200
    assert call(app, headers=[("Host", "evil.example")]).status == 403


@pytest.mark.parametrize("wrong", ["http://a.example", "a b", "*", "*.example.org", "a.example/", ""])
def test_what_cannot_be_allowed_is_told(wrong):
    with pytest.raises(UserError, match="give the name of a host"):
        allowed_host(wrong)


def test_hosts_are_read_as_browsers_write_them():
    assert parse_host("Example.ORG:8000") == Host("example.org", 8000)
    assert parse_host("[::1]:80") == Host("::1", 80)
    assert parse_host("localhost.") == Host("localhost", None)


SAME = [
    ("localhost:8000", "http://localhost:8000"),
    ("127.0.0.1:8000", "http://127.0.0.1:8000"),
    ("[::1]:8000", "http://[::1]:8000"),
    ("localhost", "http://localhost"),
    ("localhost:80", "http://localhost"),
    ("photos.example.org", "https://photos.example.org"),
    ("photos.example.org:443", "https://photos.example.org"),
]
OTHER = [
    ("localhost:8000", "http://localhost:3000"),
    ("localhost:8000", "http://localhost"),
    ("localhost:8000", "https://localhost:8000"),
    ("localhost:8000", "http://127.0.0.1:8000"),
    ("127.0.0.1:8000", "http://127.0.0.1.evil.example:8000"),
    ("localhost:8000", "http://evil.example"),
    ("localhost:8000", "http://localhost:8000.evil.example"),
    ("localhost:8000", "http://localhost:8000@evil.example"),
    ("localhost:8000", "null"),
    ("localhost:8000", ""),
    ("localhost:8000", "file://"),
    ("localhost:8000", "file://localhost:8000"),
    ("localhost:8000", "chrome-extension://abcdefgh"),
    ("localhost:8000", "http://localhost:8000/"),
    ("localhost:8000", "http://localhost:8000 http://evil.example"),
    ("localhost", "https://localhost"),
    ("photos.example.org", "http://other.example.org"),
]


@pytest.mark.parametrize(("host", "origin"), SAME)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_its_own_page_may_use_the_server(call, counting, host, origin, method):
    app = CheckHost(counting, ["photos.example.org"])
    assert call(app, method, headers=[("Host", host), ("Origin", origin)]).status == 200


@pytest.mark.parametrize(("host", "origin"), OTHER)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_page_of_another_origin_may_not_and_gets_no_leave_to_ask(call, counting, host, origin, method):
    app = CheckHost(counting, ["photos.example.org"])
    headers = [("Host", host), ("Origin", origin), ("Access-Control-Request-Method", "POST")]
    answer = call(app, method, headers=headers)
    assert (answer.status, answer.error) == (403, "pages of other sites cannot use this server")
    assert not any(name.startswith("access-control") for name in answer.headers)
    assert not counting.paths
    assert call(counting, method, headers=headers).status == 200  # without the check


def test_two_origins_are_refused_unless_both_are_ours(call, counting):
    headers = [("Host", "localhost:8000"), ("Origin", "http://localhost:8000"), ("Origin", "http://evil.example")]
    assert call(CheckHost(counting), headers=headers).status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_page_may_link_to_ours_but_not_load_from_it(call, counting, site):
    headers = [("Host", "localhost:8000"), ("Sec-Fetch-Site", site)]
    app = CheckHost(counting)
    assert call(app, "GET", headers=[*headers, ("Sec-Fetch-Mode", "navigate")]).status == 200
    assert call(app, "GET", headers=[*headers, ("Sec-Fetch-Mode", "no-cors")]).status == 403
    assert call(app, "POST", headers=[*headers, ("Sec-Fetch-Mode", "navigate")]).status == 403
    assert call(app, "GET", headers=[("Host", "localhost:8000"), ("Sec-Fetch-Site", "same-origin")]).status == 200
