"""The addresses of a server: this machine alone, unless there is a token."""

import re
import socket
from contextlib import ExitStack

import pytest

from firstlight.delivery.serve.binding import bind, is_exposed, url_of
from firstlight.errors import UserError


@pytest.fixture
def bound():
    with ExitStack() as stack:

        def bind_until_the_end(host, port=0, *, has_token=False):
            return [stack.enter_context(one) for one in bind(host, port, has_token=has_token)]

        yield bind_until_the_end


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_the_loopback_needs_no_token(bound, host):
    sockets = bound(host)
    assert not is_exposed(sockets)
    assert re.fullmatch(r"http://127\.0\.0\.[12]:\d+", url_of(sockets[0]))


def test_localhost_has_one_port_in_both_families(bound):
    assert len({one.getsockname()[1] for one in bound("localhost")}) == 1


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_the_loopback_of_ipv6_is_one_too(bound, host):
    try:
        sockets = bound(host)
    except UserError as error:
        pytest.skip(str(error))
    assert re.fullmatch(r"http://\[::1\]:\d+", url_of(sockets[0]))
    assert not is_exposed(sockets)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]"])
def test_other_addresses_need_a_token(bound, host):
    with pytest.raises(UserError, match="have to carry a token: put one in the variable FIRSTLIGHT_TOKEN") as error:
        bound(host)
    assert error.value.field == "host"
    try:
        sockets = bound(host, has_token=True)
    except UserError as error:
        pytest.skip(str(error))
    assert is_exposed(sockets)


@pytest.mark.parametrize(
    "host", ["", "nowhere.invalid", "256.1.1.1", "a b", "http://localhost", "x" * 300, "a\nb", "[::1"]
)
def test_what_is_no_address_is_told_in_one_line(bound, host):
    with pytest.raises(UserError, match="this machine has no such address; give 127.0.0.1") as error:
        bound(host)
    assert "\n" not in str(error.value)


def test_an_address_of_another_machine_is_none_of_this_one(bound):
    with pytest.raises(UserError, match="this machine has no such address"):
        bound("192.0.2.1", has_token=True)


def test_a_port_in_use_is_told(bound):
    [first] = bound("127.0.0.1")
    first.listen()
    port = first.getsockname()[1]
    with pytest.raises(UserError, match="another program uses it; choose another, or 0") as error:
        bound("127.0.0.1", port)
    assert (error.value.field, error.value.value) == ("port", port)


@pytest.mark.parametrize("port", [-1, 65536, 1_000_000])
def test_a_port_is_a_number_of_sixteen_bits(bound, port):
    with pytest.raises(UserError, match="from 1 to 65535"):
        bound("127.0.0.1", port)


def test_a_port_for_administrators_is_told(bound, monkeypatch):
    def refuse(self, address):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(UserError, match="only administrators may use it; choose one from 1024"):
        bound("127.0.0.1", 80)
