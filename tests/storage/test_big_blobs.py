"""Big blobs go up and down in constant memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.service

MIB = 2**20
LIMIT = 100 * MIB
COPY = """\
import hashlib, json, os, resource, sys
from pathlib import Path
from casflow.storage import Azure, GCS, S3

folder, size = Path(sys.argv[1]), int(sys.argv[2])
block = os.urandom(2**20)
with (folder / "up").open("wb") as file:
    for number in range(size >> 20):
        file.write(number.to_bytes(4, "big") + block[4:])

def checksum(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

store = {storage}.open_store()
store.create("small", b"x" * 2**20)
store.get("small")
start = peak()
store.create("big", folder / "up")
up = peak()
with (folder / "down").open("wb") as target:
    store.copy_to("big", target, size)
down = peak()
same = checksum(folder / "up") == checksum(folder / "down")
print(json.dumps([same, up - start, down - start]))
"""


@pytest.mark.parametrize("size", [160 * MIB, pytest.param(1024 * MIB, marks=pytest.mark.slow)])
def test_a_big_blob_takes_little_memory(cloud, tmp_path, size):
    done = subprocess.run(
        [sys.executable, "-c", COPY.format(storage=cloud.source), str(tmp_path), str(size)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    same, up, down = json.loads(done.stdout)
    assert same
    assert up <= LIMIT
    assert down <= LIMIT
