"""A real Ray cluster on this machine: a head that does no work, and worker nodes."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Before ray is imported, which reads them once.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # or ray.init() warns
os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
os.environ["RAY_memory_monitor_refresh_ms"] = "0"  # or a full machine ends workers at random

import ray
from ray._private import services
from ray.cluster_utils import Cluster

_MEMORY = 200 * 2**20  # Bytes of a node's object store.
# What a node waits for, 15 s each: ports of agents that a plain Ray has no use for. On a busy
# machine these take longer to start.
_PORTS = (
    "dashboard_agent_listen_port",
    "metrics_agent_port",
    "metrics_export_port",
    "runtime_env_agent_port",
)
_start = services.start_raylet


def _start_raylet(*given: Any, **named: Any) -> Any:
    arguments = inspect.signature(_start).bind(*given, **named).arguments
    for name in _PORTS:
        path = Path(arguments["session_dir"], f"{name}_{arguments['node_id']}")
        path.write_text("-1")
    return _start(*given, **named)


services.start_raylet = _start_raylet


def add_node(cluster: Cluster) -> Any:
    """Starts a worker node with one CPU."""
    return cluster.add_node(num_cpus=1, object_store_memory=_MEMORY, include_log_monitor=False)


@contextmanager
def cluster(nodes: int = 2) -> Iterator[Cluster]:
    """Starts a cluster, connects to it, and stops both at the end."""
    head = {
        "num_cpus": 0,
        "object_store_memory": _MEMORY,
        "include_dashboard": False,
        "include_log_monitor": False,
        "no_monitor": True,
    }
    started = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(nodes):
            add_node(started)
        ray.init(started.address, log_to_driver=False, logging_level="warning")
        yield started
    finally:
        ray.shutdown()
        started.shutdown()
