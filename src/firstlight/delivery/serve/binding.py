"""Addresses that a server listens on: this machine alone, unless the user gives another one and a token."""

import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

from firstlight.delivery.serve.guard.tokens import HOW_TO_MAKE_ONE, TOKEN_VARIABLE
from firstlight.errors import UserError

BACKLOG = 2048  # connections that the system holds before they are accepted


def bind(host: str, port: int, *, has_token: bool) -> list[socket.socket]:
    """Return a socket for each address of this host name, bound to one port, and not listening yet.

    Args:
        host: a name or an IP address; `localhost` is 127.0.0.1 and ::1, as far as this machine has them.
        port: from 0 to 65535; 0 takes a free one.
        has_token: whether requests need a token; without one, only addresses of the loopback are bound.

    Raises:
        UserError: if the host is none of this machine, is reachable from others without a token, or the port is taken.
    """
    if not 0 <= port <= 65535:
        raise UserError("give a number from 1 to 65535, or 0 for any free port", field="port", value=port)
    found = _addresses(host, port)
    if not has_token and not all(_is_loopback(address[0]) for _, address in found):
        reason = (
            "other machines can reach this address, so requests have to carry a token: put one in the variable "
            f"{TOKEN_VARIABLE} ({HOW_TO_MAKE_ONE}), or stay with 127.0.0.1"
        )
        raise UserError(reason, field="host", value=host)
    sockets: list[socket.socket] = []
    try:
        for family, address in found:
            same_port = sockets[0].getsockname()[1] if sockets else port
            try:
                sockets.append(_bound(family, (address[0], same_port, *address[2:])))
            except OSError as error:
                if not sockets or error.errno not in _MISSING:  # localhost, on a machine without IPv6
                    raise _cannot_bind(error, host, port) from None
    except UserError:
        for one in sockets:
            one.close()
        raise
    return sockets


def is_exposed(sockets: Sequence[socket.socket]) -> bool:
    """Return whether other machines can reach any of these."""
    return not all(_is_loopback(one.getsockname()[0]) for one in sockets)


def url_of(bound: socket.socket) -> str:
    """Return the address of a socket as it is typed into a browser."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


_NO_ADDRESS = "this machine has no such address; give 127.0.0.1, or 0.0.0.0 for all that it has"
_MISSING = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    name = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        if not name or not name.isprintable():
            raise OSError
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UserError(_NO_ADDRESS, field="host", value=host) from None
    addresses = [(family, tuple(address)) for family, _, _, _, address in found]
    return sorted(dict.fromkeys(addresses), key=lambda one: one[0] != socket.AF_INET)


def _bound(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    # With the protocol by its name, asyncio sends small answers at once (TCP_NODELAY) instead of 40 ms later.
    one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server can be started again at once
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def _cannot_bind(error: OSError, host: str, port: int) -> UserError:
    if error.errno == errno.EADDRINUSE:
        reason = "another program uses it; choose another, or 0 for any free port"
        return UserError(reason, field="port", value=port)
    if error.errno in {errno.EACCES, errno.EPERM}:
        reason = "only administrators may use it; choose one from 1024 to 65535"
        return UserError(reason, field="port", value=port)
    if error.errno in _MISSING:
        return UserError(_NO_ADDRESS, field="host", value=host)
    return UserError(f"cannot listen there ({(error.strerror or str(error)).lower()})", field="host", value=host)


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
