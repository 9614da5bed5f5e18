"""Whole runs go on whatever call on the cache fails: the result is right, with one warning."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid

import pytest

from tests.cache.shim import build
from tests.docker.images import put_base
from tests.docs.pages import ROOT
from tests.hosts.repository import Repository
from tests.services.images import busybox_root
from tests.services.presence import require

ERRORS = ("28", "13", "30", "5")  # no space, no access, read-only, input and output
PLAIN = """\
from casflow import Flow, task

@task
def double(n):
    return 2 * n

with Flow({name!r}) as flow:
    double(21)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return build(tmp_path_factory.mktemp("shim"))


def environment(home, shim):
    chosen = {"FAULT_ROOT": str(home.path / "cache"), "LD_PRELOAD": str(shim)}
    return {**home.environment, **chosen, "PYTHONPATH": str(ROOT), "FAULT_AFTER": "0"}


def run_all(home, shim, name, state, tried):
    """Run a flow with a fault at each position; return how many were met, and how many warned.

    Args:
        tried: How many of the errors are tried at each position.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.cache.faulty_runs", name, state, str(tried), *ERRORS],
        env=environment(home, shim),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "WRONG" not in done.stdout, done.stdout[:6000]
    _, _, _, met, _, warned = done.stdout.splitlines()[-1].split()
    return int(met), int(warned)


@pytest.mark.slow
@pytest.mark.parametrize("state", ["cold", "warm"])
def test_a_run_goes_on(home, shim, state):
    home.casflow("register", "-p", home.script("Plain", text=PLAIN))
    met, warned = run_all(home, shim, "Plain", state, tried=4)
    assert met >= (40 if state == "cold" else 4)
    assert warned >= (20 if state == "cold" else 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_from_git_goes_on(home, shim, tmp_path, monkeypatch):
    repository = Repository(tmp_path / "repository.git")
    repository.commit({"flows/f.py": PLAIN.replace("{name!r}", "'Hosted'")})
    storage = 'Git("flows/f.py", git_clone_url_secret_name="REPOSITORY")'
    code = f"""\
from casflow import Flow
from casflow.storage import Git
Flow("Hosted", storage={storage}).register()
"""
    monkeypatch.setenv("REPOSITORY", str(repository.folder))
    made = subprocess.run([sys.executable, "-c", code], env=home.environment, check=False)
    assert made.returncode == 0
    met, warned = run_all(home, shim, "Hosted", "cold", tried=1)
    assert met >= 20
    assert warned >= 10


@pytest.mark.slow
@pytest.mark.service
@pytest.mark.timeout(3600)
def test_a_run_from_an_image_goes_on(home, shim, tmp_path, oci_registry):
    require("busybox image", "busybox", install="busybox-static")
    base = put_base(oci_registry.host, "base/busybox", busybox_root(tmp_path).read_bytes())
    url = f"{oci_registry.host}/{uuid.uuid4().hex}"
    storage = (
        f"Docker(registry_url={url!r}, base_image={base!r}, builder='registry',"
        " base_url='unix:///nowhere.sock')"
    )
    text = f"from casflow.storage import Docker\n{PLAIN}"
    script = home.script("Packed", text=text.replace("{name!r}", f"'Packed', {storage}"))
    home.casflow("register", "-p", script)
    met, warned = run_all(home, shim, "Packed", "cold", tried=1)
    assert met >= 10
    assert warned >= 5


@pytest.mark.slow
def test_an_agent_s_runs_go_on(home, shim):
    home.casflow("register", "-p", home.script("Plain", text=PLAIN))
    families = ["open", "mkdir"]
    for number, family in enumerate(families, 1):
        faults = {"FAULT_FAMILY": family, "FAULT_ERRNO": ERRORS[number % 4]}
        subprocess.run(["rm", "-rf", home.path / "cache"], check=True)
        home.casflow("runs", "create", "Plain")
        with home.start("agent", "start", environment=environment(home, shim) | faults) as agent:
            deadline = time.monotonic() + 60
            while (ended := home.json("runs", "show", number))["state"] in ("Scheduled", "Running"):
                assert time.monotonic() < deadline, ended
            agent.terminate()
            _, err = agent.communicate(timeout=60)
        assert ended["state"] == "Success", (family, ended, err)
        assert err.count("the cache is not used") <= 1, err
        assert "Traceback" not in err
