"""What starting casflow costs: nothing that is not needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "s3fs",
    "gcsfs",
    "adlfs",
    "docker",
    "requests",
    "sqlalchemy",
    "alembic",
    "diskcache",
    "rich",
}


def imported(code):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize(
    "code",
    [
        "import casflow",
        "from casflow import Flow, Parameter, task",
        "from casflow.storage import Local; import casflow.storage",
    ],
)
def test_importing_brings_no_sdk(code):
    assert imported(code) & HEAVY == set()


def test_the_help_brings_no_sdk():
    code = "from casflow.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert imported(code) & (HEAVY | {"cloudpickle", "blake3"}) == set()


def test_a_warm_read_brings_neither_the_index_nor_the_registry(home):
    home.path.mkdir()
    setup = (
        "from casflow import Flow, task; from casflow.storage import Local, load; import json\n"
        "@task\ndef one(): return 1\n"
        "with Flow('x') as flow: one()\n"
        "storage = Local(); storage.add_flow(flow); form = storage.serialize()\n"
        "load(form).get_flow('x')\n"
        f"open({str(home.path / 'form')!r}, 'w').write(json.dumps(form))\n"
    )
    subprocess.run([sys.executable, "-c", setup], check=True)
    read = (
        "import json; from casflow.storage import load\n"
        f"assert load(json.load(open({str(home.path / 'form')!r}))).load_flow('x').hit\n"
    )
    assert imported(read) & HEAVY == set()
