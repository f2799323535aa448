"""Simulate two machines on this one: network namespaces, joined by a virtual cable of limited rate.

Needs root rights on Linux, and `ip` and `tc` (Debian: iproute2). The two are reached by no one else, and reach nobody
but each other. The cable has a rate, but the delay of this machine's own memory: this kernel cannot delay packets.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

INTERFACE = "cable"
TAKE = """
import socket, sys
server = socket.create_server((sys.argv[1], 0))
print(server.getsockname()[1], flush=True)
other, _ = server.accept()
while other.recv(1 << 20):
    pass
other.sendall(b"!")
"""
GIVE = """
import socket, sys, time
address, port, amount = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with socket.create_connection((address, port)) as other:
    started = time.perf_counter()
    block = bytes(1 << 20)
    for _ in range(amount >> 20):
        other.sendall(block)
    other.shutdown(socket.SHUT_WR)
    other.recv(1)
    print(time.perf_counter() - started)
"""


@dataclass(frozen=True)
class Node:
    """One simulated machine: the name of its namespace, and its address."""

    name: str
    address: str

    def command(self, *words: str) -> list[str]:
        """Return the command that runs these words on the machine."""
        return ["ip", "netns", "exec", self.name, *words]

    def environment(self) -> dict[str, str]:
        """Return the variables that make PyTorch talk over the cable."""
        return {"GLOO_SOCKET_IFNAME": INTERFACE, "TP_SOCKET_IFNAME": INTERFACE}


def possible() -> bool:
    """Return whether this user can simulate machines here."""
    tools = all(shutil.which(tool) is not None for tool in ("ip", "tc"))
    if sys.platform != "linux" or os.geteuid() != 0 or not tools:
        return False
    try:
        with two_nodes(megabits=100):
            return True
    except RuntimeError:
        return False


@contextmanager
def two_nodes(megabits: int | None) -> Iterator[tuple[Node, Node]]:
    """Join two namespaces by a cable of this rate in megabits per second, in each direction; None for no limit."""
    nodes = tuple(Node(f"firstlight-{os.getpid()}-{number}", f"10.213.0.{number}") for number in (1, 2))
    try:
        for node in nodes:
            configure("ip", "netns", "add", node.name)
        ends = [word for node in nodes for word in ("name", INTERFACE, "netns", node.name)]
        configure("ip", "link", "add", *ends[:4], "type", "veth", "peer", *ends[4:])
        for node in nodes:
            configure(*node.command("ip", "address", "add", f"{node.address}/30", "dev", INTERFACE))
            for device in ("lo", INTERFACE):
                configure(*node.command("ip", "link", "set", device, "up"))
            if megabits is not None:
                # the bucket holds what passes in 4 ms: less would hold the rate below the limit
                bucket = max(128_000, megabits * 1_000_000 // 8 // 250)
                limit = ("rate", f"{megabits}mbit", "burst", f"{bucket}b", "latency", "50ms")
                configure(*node.command("tc", "qdisc", "add", "dev", INTERFACE, "root", "tbf", *limit))
        yield nodes
    finally:
        for node in nodes:
            subprocess.run(["ip", "netns", "delete", node.name], check=False, capture_output=True)


def configure(*words: str) -> None:
    """Run a command that says nothing unless it fails."""
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")


def rate_between(nodes: tuple[Node, Node], megabytes: int) -> float:
    """Return the megabits per second that pass from the first machine to the second."""
    one, other = nodes
    serve = other.command(sys.executable, "-c", TAKE, other.address)
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port, amount = server.stdout.readline().strip(), megabytes << 20
        client = one.command(sys.executable, "-c", GIVE, other.address, port, str(amount))
        seconds = float(subprocess.run(client, check=True, capture_output=True, text=True).stdout)
    return amount * 8 / seconds / 1e6
