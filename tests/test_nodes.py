"""The two machines that `benchmarks/nodes.py` simulates are joined by a cable, and by nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def simulated_nodes(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import simulated_nodes

    if not simulated_nodes.possible():
        pytest.skip("needs Linux, root rights, ip, and tc")
    yield simulated_nodes
    del sys.modules["simulated_nodes"]


def test_the_cable_carries_no_more_than_its_rate_and_leads_nowhere_else(simulated_nodes):
    with simulated_nodes.two_nodes(megabits=100) as nodes:
        assert 0 < simulated_nodes.rate_between(nodes, megabytes=2) < 115
        routes = subprocess.run(nodes[0].command("ip", "route"), capture_output=True, text=True, check=True).stdout
    assert routes.split()[:3] == ["10.213.0.0/30", "dev", "cable"]
    assert len(routes.splitlines()) == 1
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert not any(node.name in left for node in nodes)
