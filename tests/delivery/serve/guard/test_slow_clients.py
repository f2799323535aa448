"""Hundreds of clients that hold their connections do not hold up the others."""

import time
from dataclasses import replace

import pytest

from firstlight.delivery.serve.guard.guarded import guarded
from firstlight.delivery.serve.guard.limits import Limits

HEADER = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
BODY = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n"
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def dribble(server, sockets):
    for connection in sockets:
        connection.sendall(b"a")


def hold(server, count):
    sockets = [server.connect() for _ in range(count)]
    for number, connection in enumerate(sockets):
        connection.sendall((HEADER, BODY)[number % 2])
    return sockets


def test_others_are_answered_while_sixty_clients_dribble_and_those_are_gone_after_ten_seconds(serve, counting):
    server = serve(guarded(counting), Limits())
    sockets = hold(server, 60)
    for _ in range(9):
        dribble(server, sockets)
        server.later(1)
        assert server.ask(HEALTH).status == 200
    assert len(server.state.connections) >= 60
    server.later(1.5)
    server.later(2.5)
    assert not server.state.connections
    for connection in sockets:
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
        connection.close()


def test_more_slow_clients_than_connections_do_not_lock_others_out(serve, counting):
    server = serve(guarded(counting), replace(Limits(), connections=30))
    sockets = hold(server, 20)
    server.later(1)
    sockets += [server.connect() for _ in range(40)]
    for _ in range(5):
        assert server.ask(HEALTH).status == 200
    assert len(server.state.connections) <= 31
    for connection in sockets:
        connection.close()


@pytest.mark.slow
def test_two_hundred_clients_that_dribble_do_not_make_health_slower(serve, counting):
    """Measured in turn on the same machine: the time of an answer without them and with them."""
    free, held = serve(guarded(counting), Limits()), serve(guarded(counting), Limits())
    sockets = hold(held, 200)
    took: dict[object, list[float]] = {free: [], held: []}
    for _ in range(50):
        dribble(held, sockets[:50])
        for server, times in took.items():
            start = time.perf_counter()
            assert server.ask(HEALTH).status == 200
            times.append(time.perf_counter() - start)
    assert len(held.state.connections) >= 200
    alone, among_them = (sorted(times)[int(0.9 * len(times))] for times in took.values())
    assert among_them < max(0.1, 5 * alone)
    for connection in sockets:
        connection.close()
