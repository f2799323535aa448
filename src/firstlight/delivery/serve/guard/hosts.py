"""Host and origin: a page of another site must not use this server through the browser of somebody who visits it.

A site can point its own name at 127.0.0.1 (DNS rebinding); its requests then carry its name in `Host`. A page of
another site, or of another program on this machine, carries its own address in `Origin`.
"""

import ipaddress
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from firstlight.delivery.serve.guard.refusal import refuse
from firstlight.errors import UserError
from firstlight.escaping import escape_name

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_PORTS = {"http": 80, "https": 443}


class Host(NamedTuple):
    """A host as a URL or a `Host` header names it, in lower case and without brackets, with its port if it has one."""

    name: str
    port: int | None

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The address, if the host is not a name."""
        try:
            return ipaddress.ip_address(self.name)
        except ValueError:
            return None

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, reached from itself."""
        address = self.address
        return self.name == "localhost" if address is None else address.is_loopback


def parse_host(text: str) -> Host | None:
    """Return the host in `name`, `name:port`, `1.2.3.4:port` or `[::1]:port`, or None where it is anything else."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9_.-]{1,253}))(?::([0-9]{1,5}))?", text, re.ASCII)
    if match is None:
        return None
    within_brackets, name, port = match.groups()
    host = Host((within_brackets or name).lower().removesuffix("."), None if port is None else int(port))
    if (within_brackets and host.address is None) or not host.name or (port and not 0 < int(port) < 65536):
        return None
    return host


class CheckHost:
    """Refuse requests for another host, and from pages of another origin, with 403.

    Args:
        app: what answers the others.
        allowed: names that this server may have besides those of the loopback, each with or without a port.
        any_address: also accept every IP address as host, which no rebound name can be. For servers on a network.
    """

    def __init__(self, app: "ASGIApp", allowed: Collection[str] = (), *, any_address: bool = False) -> None:
        self.app = app
        self.allowed = frozenset(map(allowed_host, allowed))
        self.any_address = any_address

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request, as ASGI defines."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = _of_interest(scope)
        given = headers["host"]
        host = parse_host(given[0]) if len(given) == 1 else None
        if host is None:
            return await refuse(send, 400, "the request has to name one host, as in Host: localhost:8000")
        if not self._allows(host):
            name = escape_name(given[0], 80)
            error = f"this server does not answer for the host {name}; whoever runs it can add a name by allow-host"
            return await refuse(send, 403, error)
        if not self._is_own_page(headers, host, scope["method"]):
            return await refuse(send, 403, "pages of other sites cannot use this server")
        return await self.app(scope, receive, send)

    def _allows(self, host: Host) -> bool:
        return host.is_loopback or self._is_named(host) or (self.any_address and host.address is not None)

    def _is_named(self, host: Host) -> bool:
        return host in self.allowed or Host(host.name, None) in self.allowed

    def _is_own_page(self, headers: dict[str, list[str]], host: Host, method: str) -> bool:
        for origin in headers["origin"]:
            scheme, _, rest = origin.partition("://")
            from_page = parse_host(rest)
            if from_page is None or scheme not in _PORTS:
                return False
            if scheme == "https" and host.is_loopback and not self._is_named(host):  # we speak plain HTTP
                return False
            default = _PORTS[scheme]
            if (from_page.name, from_page.port or default) != (host.name, host.port or default):
                return False
        if not headers["origin"] and any(site in {"cross-site", "same-site"} for site in headers["sec-fetch-site"]):
            return method == "GET" and headers["sec-fetch-mode"] == ["navigate"]  # a link to the page
        return True


def allowed_host(text: str) -> Host:
    """Return a host that the user allows; raise a `UserError` if it is not the name of one."""
    host = parse_host(text)
    if host is None:
        reason = "give the name of a host as it is in the browser, such as classify.example.org"
        raise UserError(reason, field="allow_host", value=text)
    return host


def _of_interest(scope: "Scope") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"host": [], "origin": [], "sec-fetch-site": [], "sec-fetch-mode": []}
    for name, value in scope["headers"]:
        values = found.get(name.decode("latin-1"))
        if values is not None:
            values.append(value.decode("latin-1"))
    return found
