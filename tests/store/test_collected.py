"""What gc leaves of trees: what a tag or a lease names stays, whatever retention says."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

from casflow.blobs import layout
from casflow.blobs.content import ContentStore
from casflow.errors import UnavailableError
from casflow.gc import Collector, Limits, Policy
from casflow.storage.urls import open_url
from casflow.store import finish_leases
from tests.store.conftest import contents, write


def collect(store):
    """Collect as if nobody else wrote, so that nothing waits."""
    limits = Limits(grace=0, trash=0, exclusive=True)
    for _ in range(3):
        Collector(open_url(store.url), policy=Policy(last=1), limits=limits).run()


def test_a_tag_and_a_lease_outlive_retention(local, tmp_path):
    project = tmp_path / "p"
    for number in range(4):
        write(project, {"file": str(number), "same": "x" * 100})
        local.push(project, "p")
    local.tag("p@1", "prod")
    local.tag("p@2", "old")
    local.tag("p@1", "old")
    leased = local.resolve("p@3")
    local.lease(leased)
    collect(local)
    assert [each.version for each in local.versions("p")] == [
        4,
        1,
    ]  # what has a tag stays where it is
    assert local.read_file("p@prod", "file") == b"0"
    assert local.read_file("p@old", "file") == b"0"
    assert contents(local.checkout(f"p@{leased.digest}", tmp_path / "to"))["file"] == b"2"
    assert local.push(write(project, {"file": "4"}), "p").version == 5
    assert local.verify(1.0).clean
    assert ContentStore(open_url(local.url)).reference_keys("p")


CHECK_OUT = """
import sys, casflow
from pathlib import Path
from casflow.cache import Cache
casflow.Store(sys.argv[1], cache=Cache(Path(sys.argv[2]), 10**9)).checkout("p")
"""


def test_a_process_that_ends_after_its_checkout_leaves_a_lease(local, tmp_path):
    version = local.push(write(tmp_path / "p", {"file": "x"}), "p")
    command = [sys.executable, "-c", CHECK_OUT, local.url, str(tmp_path / "there")]
    subprocess.run(command, check=True)
    keys = [info.key for info in open_url(local.url).list(layout.leases(version.digest))]
    assert [layout.lease_day(key) for key in keys] == [datetime.now(UTC).date()]


def test_a_store_that_takes_no_lease_is_asked_again_in_an_hour(local, tmp_path, monkeypatch):
    version = local.push(write(tmp_path / "p", {"file": "x"}), "p")
    tries = []

    def refuse(*_, **__):
        tries.append(1)
        raise UnavailableError("down")

    monkeypatch.setattr(ContentStore, "copy", refuse)
    for _ in range(3):
        assert local.checkout(version).is_dir()
        finish_leases()
    assert len(tries) == 1
