"""Ray jobs whose workers start in a tree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integrations.conftest import host_of
from tests.integrations.walkthrough import type_page

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.service, pytest.mark.xdist_group("ray")]

PROGRAM = """
import sys
import ray
from casflow.integrations.ray import pinned

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")

@ray.remote
def version():
    import pkg
    return pkg.VERSION, open("data/numbers.csv").readline().strip()

refs = ["proj@1", "proj@2"]
tasks = [version.options(runtime_env=pinned(ref, sys.argv[1])).remote() for ref in refs]
print(ray.get(tasks, timeout=120))
"""


def test_two_versions_run_side_by_side(store, project: Path, tmp_path: Path) -> None:
    host = host_of("ray", tmp_path)
    store.push(project, "proj")
    (project / "pkg" / "__init__.py").write_text("VERSION = 2\n")
    store.push(project, "proj")
    host.env.update(
        RAY_RUNTIME_ENV_PLUGINS=json.dumps([{"class": "casflow.integrations.ray.CasflowPlugin"}]),
        RAY_ENABLE_UV_RUN_RUNTIME_ENV="0",  # else the environment of the tests is sent to workers
        RAY_TMPDIR="/tmp",
        RAY_USAGE_STATS_ENABLED="0",
    )
    output = host.run("python", "-c", PROGRAM, store.url)
    assert "[(1, 'a,b'), (2, 'a,b')]" in output


def test_as_the_page_says(store, tmp_path: Path) -> None:
    type_page("ray", host_of("ray", tmp_path), tmp_path, CASFLOW_STORE=store.url)


def test_a_whole_digest_is_pinned_without_the_store(store, project: Path, tmp_path: Path) -> None:
    digest = store.push(project, "proj").digest
    code = "import sys; from casflow.integrations.ray import pinned; print(pinned(*sys.argv[1:]))"
    nowhere = str(tmp_path / "nowhere")
    shown = host_of("ray", tmp_path).run("python", "-c", code, f"proj@{digest}", nowhere)
    assert f"'tree': '{digest}'" in shown
