"""A tree on every worker of a Dask cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from distributed import Client, LocalCluster

from casflow.integrations.dask_tree import CasflowPlugin

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def _version() -> int:
    import pkg

    return pkg.VERSION


def test_workers_late_workers_and_pushed_versions(store, project: Path) -> None:
    store.push(project, "proj")
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options, host="127.0.0.1") as cluster, Client(cluster) as client:
        client.register_plugin(CasflowPlugin("proj", store.url))
        assert client.submit(_version, pure=False).result(60) == 1
        (project / "pkg" / "__init__.py").write_text("VERSION = 2\n")
        store.push(project, "proj")
        client.register_plugin(CasflowPlugin("proj", store.url))
        cluster.scale(2)
        client.wait_for_workers(2, timeout=60)
        assert set(client.run(_version).values()) == {2}
