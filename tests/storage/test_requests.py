"""How many requests a storage makes, counted at a proxy in front of the real server."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from casflow.storage import load

pytestmark = pytest.mark.service

REGISTER = """\
import json, sys
from casflow import Flow, Parameter, task
from casflow.storage import Azure, GCS, S3

@task
def times(number, data={data!r}):
    return 2 * number

with Flow("counted", storage={storage}) as flow:
    times(Parameter("number", default=21))
done = flow.register()
print(json.dumps([done.status, done.uploaded_bytes, flow.storage.serialize()]))
"""


def register(home, cloud):
    """Register a flow in a process of its own and return what that said."""
    code = REGISTER.format(storage=cloud.source, data="x" * 10_000)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**home.environment, **cloud.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_registering_again_uploads_nothing_in_five_requests(home, proxied):
    cloud, proxy = proxied
    assert register(home, cloud)[0] == "registered"
    assert proxy.up > 0
    proxy.reset()
    status, uploaded, _ = register(home, cloud)
    assert (status, uploaded) == ("unchanged", 0)
    assert proxy.up == 0
    # The latest reference; then, side by side, the object and the marker of flow and source map.
    assert len(proxy.requests) <= 5, proxy.requests


def test_a_warm_read_makes_no_request_and_a_cold_one_two(home, proxied):
    cloud, proxy = proxied
    form = register(home, cloud)[2]
    proxy.reset()
    opened = load(form).load_flow("counted")
    assert not opened.hit
    assert 1 <= len(proxy.requests) <= 2, proxy.requests
    assert opened.downloaded > 0
    proxy.reset()
    warm = load(form).load_flow("counted")
    assert warm.hit
    assert warm.flow.run().is_successful()  # no result was asked for, so none is written
    assert proxy.requests == []


def test_a_damaged_cache_is_not_used_but_filled_again(home, proxied):
    cloud, proxy = proxied
    form = register(home, cloud)[2]
    flow = load(form).get_flow("counted")
    digest = next(iter(form["references"].values()))["digest"].partition(":")[2]
    for file in home.path.glob(f"cache/**/*{digest[2:]}*"):
        file.chmod(0o600)
        file.write_bytes(b"damaged")
    proxy.reset()
    assert load(form).get_flow("counted").name == flow.name
    assert len(proxy.requests) >= 1


def test_a_first_registration_sends_the_flow_once(home, proxied):
    cloud, proxy = proxied
    register(home, cloud)
    sizes = [len(cloud.read(key)) for key in cloud.objects()]
    assert proxy.up < 2 * sum(sizes) + 4000, [sizes, proxy.requests]


def test_nothing_is_kept_from_one_storage_to_the_next_but_the_cache(home, proxied):
    cloud, proxy = proxied
    form = register(home, cloud)[2]
    proxy.reset()
    without = load({**form, "references": {}})
    without.get_flow("counted")
    assert len(proxy.requests) <= 3
