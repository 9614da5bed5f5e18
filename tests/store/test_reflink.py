"""Private copies where the file system can share extents."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack

import pytest

import casflow
from casflow.cache import Cache
from tests.services.btrfs import btrfs
from tests.services.presence import require

SIZE = 8 * 2**20


@pytest.fixture
def folder(tmp_path):
    require("reflinks", "mkfs.btrfs", "mount", install="btrfs-progs", root=True)
    with ExitStack() as stack:
        try:
            place = stack.enter_context(btrfs(tmp_path))
        except OSError as error:  # such as in a container
            pytest.skip(str(error))
        yield place


def free(folder):
    """Return the bytes that are free once all is written."""
    subprocess.run(["sync", "-f", str(folder)], check=True)
    found = os.statvfs(folder)
    return found.f_bfree * found.f_bsize


@pytest.mark.service
def test_a_private_copy_shares_its_extents_and_writes_to_its_own(folder):
    (folder / "project").mkdir()
    (folder / "project" / "data").write_bytes(os.urandom(SIZE))
    store = casflow.Store(folder / "store", cache=Cache(folder / "cache", 10**9))
    version = store.push(folder / "project", "p")
    shared = store.checkout(version)
    before = free(folder)
    copies = [store.checkout(version, folder / f"copy{number}") for number in range(4)]
    assert before - free(folder) < SIZE
    with (copies[0] / "data").open("r+b") as file:
        file.write(b"mine")
    data = (folder / "project" / "data").read_bytes()
    assert [each.joinpath("data").read_bytes() == data for each in (shared, *copies)] == [
        True, False, True, True, True,
    ]  # fmt: skip
