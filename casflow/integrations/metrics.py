"""Prometheus: what goes on in the registry, as metrics.

Owns their names. Invariant: they are read from the registry when they are asked for, so every
agent gives the same numbers, and none is kept here.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from casflow.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casflow.registry import Registry


class Collector:
    """Gives a registry's overview in Prometheus's terms."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Any]:
        """Yield the metrics."""
        from prometheus_client.core import GaugeMetricFamily

        seen = self._registry.overview()
        runs = GaugeMetricFamily("casflow_runs", "Runs by state.", labels=["state"])
        for state, count in seen.runs.items():
            runs.add_metric([state.value.lower()], count)
        yield runs
        yield GaugeMetricFamily("casflow_agents", "Agents that work.", len(seen.agents))
        latest = GaugeMetricFamily(
            "casflow_latest_runs", "The latest ended runs by cache hit or miss.", labels=["cache"]
        )
        latest.add_metric(["hit"], seen.hits)
        latest.add_metric(["miss"], seen.misses)
        yield latest
        moved = GaugeMetricFamily(
            "casflow_latest_bytes", "Bytes of the latest runs.", labels=["bytes"]
        )
        moved.add_metric(["saved"], seen.saved)
        moved.add_metric(["downloaded"], seen.downloaded)
        yield moved


@contextmanager
def serve(registry: Registry, port: int) -> Iterator[int]:
    """Answer Prometheus on a port of 127.0.0.1; 0 for any that is free. Give the port.

    Raises:
        MissingExtraError: prometheus_client is not installed.
        ConfigError: The port cannot be used.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError as error:
        raise MissingExtraError("prometheus_client", "metrics") from error
    metrics = CollectorRegistry()
    metrics.register(Collector(registry))
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=metrics)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot serve metrics ({error})", where=f"port {port}") from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
