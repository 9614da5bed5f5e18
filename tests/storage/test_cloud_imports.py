"""Each cloud's storage brings its own library and no other's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.service

LIBRARIES = {
    "s3": {"s3fs", "aiobotocore", "botocore"},
    "gcs": {"gcsfs", "google"},
    "azure": {"adlfs", "azure"},
}
USE = """\
import json, sys
from casflow import Flow, Parameter, task
from casflow.storage import Azure, GCS, S3, load

@task
def same(value):
    return value

with Flow("imports", storage={storage}) as flow:
    same(Parameter("value", default=1))
made = set(sys.modules)
flow.register()
flow.storage.result.write(1)
load(flow.storage.serialize()).get_flow("imports")
top = lambda names: sorted({{name.partition(".")[0] for name in names}})
print(json.dumps([top(made), top(sys.modules)]))
"""


def test_only_the_library_that_is_used_is_imported(home, cloud):
    done = subprocess.run(
        [sys.executable, "-c", USE.format(storage=cloud.source)],
        env={**home.environment, **cloud.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made, used = json.loads(done.stdout)
    mine = LIBRARIES[cloud.name]
    others = set().union(*LIBRARIES.values()) - mine
    assert others & set(used) == set()
    assert mine <= set(used)
    assert (mine | others | {"fsspec", "aiohttp"}) & set(made) == set()
