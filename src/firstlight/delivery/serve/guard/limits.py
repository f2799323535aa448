"""Limits: how much of the server one client, or all of them together, may use."""

import resource
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Limits:
    """What a server accepts before it refuses; the defaults fit photos from phones on slow connections."""

    body_bytes: int = 64 << 20
    """Largest body of one request."""
    bodies_bytes: int = 512 << 20
    """Largest total of the bodies of all requests that are not answered yet."""
    header_bytes: int = 32 << 10
    """Largest request line and header together."""
    header_count: int = 100
    """Most header lines."""
    header_seconds: float = 10.0
    """Time for a header, from the first byte of the request; for a new connection, from its opening."""
    body_window_seconds: float = 10.0
    """Time in which at least `body_window_bytes` of a body have to arrive, again and again until it is whole."""
    body_window_bytes: int = 20 << 10
    """Fewer bytes than this in a window mean that the client is stuck, or pretends to be: 2 kB a second."""
    body_seconds: float = 120.0
    """Time for a whole body, however steadily it arrives."""
    idle_seconds: float = 10.0
    """Time for which a connection is kept without a request."""
    send_seconds: float = 30.0
    """Time for which a client may leave an answer unread."""
    linger_seconds: float = 2.0
    """Time for which the rest of a refused request is thrown away, so that its sender can read why."""
    linger_bytes: int = 32 << 20
    """Most bytes that are thrown away in this time."""
    connections: int = 1000
    """Most connections at once."""
    requests_per_connection: int = 10_000
    """Requests after which a connection is closed."""
    pipelined: int = 16
    """Requests that may wait on one connection while an earlier one is answered."""


def limits_here() -> Limits:
    """Return the limits of a server in this process, with connections for at most half of the files it may open."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = Limits()
    return limits if files < 0 else replace(limits, connections=max(8, min(limits.connections, files // 2)))
