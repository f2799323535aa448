"""Start a Ray on this machine, with only the processes that predictions need.

Ray starts five programs in Python besides its workers: for its dashboard, its logs, its metrics, environments of tasks,
and more machines. They take two thirds of the processor time of a start, and where two of them need more than 15
seconds, as on a busy machine, Ray gives up. There is no setting that leaves them out, so two of Ray's own modules are
changed here, in a process that does nothing else; a Ray without the names that this needs is started as it comes.
"""

import shutil
from importlib import import_module
from typing import Any

OBJECT_STORE_BYTES = 128 << 20  # only names of blocks, and how they went, pass through it
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
NOT_NEEDED = ("start_api_server", "start_monitor", "start_log_monitor")  # methods of Ray's node
AGENTS = ("dashboard_agent_command", "runtime_env_agent_command")  # options of its node
STAND_IN = "cat"  # instead of an agent: it waits until its input is closed, which is when Ray ends
NO_SERVICE, NOBODY = -1, 9  # as ports: Ray takes the first for "not in use", and never asks the second


def start(*, processors: int, gpus: bool, temporary: str) -> None:
    """Start Ray, and connect to it; it ends with this process.

    Args:
        processors: that it may use.
        gpus: whether it may use all GPUs, or none.
        temporary: a folder for its sockets and logs.

    Raises:
        Exception: of any kind, if it cannot be started.
    """
    import ray

    _leave_out_agents()
    ray.init(
        address="local",
        num_cpus=processors,
        num_gpus=None if gpus else 0,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _node_ip_address="127.0.0.1",
        _temp_dir=temporary,
        **QUIET,
    )


def _leave_out_agents() -> None:
    """Change how this process starts Ray, if this Ray has the names for it."""
    try:
        from ray._private import services
        from ray._private.node import Node

        names = import_module("ray._raylet")  # compiled, and described only in part
        ports = {
            names.DASHBOARD_AGENT_LISTEN_PORT_NAME: NO_SERVICE,
            names.METRICS_AGENT_PORT_NAME: NO_SERVICE,
            names.METRICS_EXPORT_PORT_NAME: NO_SERVICE,
            names.RUNTIME_ENV_AGENT_PORT_NAME: NOBODY,
        }
        persist_port, start_process = names.persist_port, services.start_ray_process
    except (ImportError, AttributeError):
        return
    if shutil.which(STAND_IN) is None or not all(hasattr(Node, name) for name in NOT_NEEDED):
        return

    def start_without_agents(command: list[str], *others: Any, **more: Any) -> Any:
        choices = dict(word.removeprefix("--").split("=", 1) for word in command if "=" in word)
        if choices.keys() >= {"session_dir", "node_id", *AGENTS}:
            for name, port in ports.items():  # what Ray would wait for its agents to write
                persist_port(choices["session_dir"], choices["node_id"], name, port)
            stand_ins = {f"--{name}={choices[name]}": f"--{name}={STAND_IN}" for name in AGENTS}
            command = [stand_ins.get(word, word) for word in command]
        return start_process(command, *others, **more)

    services.start_ray_process = start_without_agents
    for name in NOT_NEEDED:
        setattr(Node, name, lambda *_, **__: None)
