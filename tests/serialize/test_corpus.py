"""The corpus: the same digest in processes that differ in all that must not matter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from matrix import CORPUS, FILES, ROOT, run_matrix, unstable

from tests.services.presence import program, require

pytestmark = pytest.mark.xdist_group("corpus")  # one matrix serves all of these tests

LEAST = 120  # definitions
PYTHONS = ("3.12", "3.13", "3.14")
RARE = ("3.14",)  # tested where it is to be had

# Objects that come back a little different, by their own or numpy's pickling.
NOT_AGAIN = {
    "array_view",  # a view comes back as an array of its own
    "masked",  # the fill value is worked out when it is first needed
}


@pytest.fixture(scope="session")
def matrix(tmp_path_factory):
    return run_matrix(tmp_path_factory.mktemp("matrix"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_corpus_is_large_enough(matrix):
    """At least 120 definitions, each in 12 processes as a script and 12 as a module."""
    assert len(matrix) >= LEAST
    assert all(set(modes) == {"script", "module"} for modes in matrix.values())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_definition_has_one_digest(matrix):
    """No definition differs between processes, nor between running and importing its file."""
    assert unstable(matrix) == {}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", PYTHONS)
def test_other_pythons_are_as_stable(version, tmp_path):
    """The whole corpus on a further interpreter, in an environment of its own."""
    python = interpreter(version, tmp_path)
    assert unstable(run_matrix(tmp_path / "matrix", python)) == {}


def interpreter(version, folder):
    """Return a Python of that version with all that the corpus needs, or skip."""
    require("another Python", "uv", install="uv")
    environment = folder / "environment"
    requirements = ["blake3", "cloudpickle", "numpy", "pydantic"]
    commands = (
        [program("uv"), "venv", "-q", "--python", version, str(environment)],
        [program("uv"), "pip", "install", "-q", "--python", str(environment), *requirements],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = f"no environment for Python {version}: {done.stderr.strip()[-200:]}"
            if version not in RARE and os.environ.get("CASFLOW_REQUIRE_SERVICES") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
    return str(environment / "bin" / "python")


@pytest.fixture(scope="session")
def stored(tmp_path_factory):
    """Blobs, maps and probes of the whole corpus, written by processes that are gone."""
    scratch = tmp_path_factory.mktemp("stored")
    blobs = scratch / "blobs"
    blobs.mkdir()
    folder = scratch / "scripts"
    shutil.copytree(CORPUS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        command = [sys.executable, str(folder / f"{name}.py"), str(scratch / "out"), str(blobs)]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(folder)
    return blobs


PROBE = """
import gc, json, pickle, sys, pathlib
gc.disable()  # a set of weak references holds nothing
folder = pathlib.Path(sys.argv[1])
wrong = {}
for file in sorted(folder.glob("*.pickle")):
    probe, expected = json.loads(file.with_suffix(".probe").read_text())
    try:
        found = repr(eval(probe, {"x": pickle.loads(file.read_bytes())}))
    except Exception as error:
        found = repr(error)
    if found != expected:
        wrong[file.stem] = [expected, found]
assert "casflow" not in sys.modules
print(json.dumps(wrong))
"""


def test_blobs_load_with_plain_pickle_and_behave_the_same(stored):
    """A process without casflow, script or helper modules: every probe gives what it gave."""
    command = [sys.executable, "-I", "-c", PROBE, str(stored)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}


AGAIN = """
import json, sys, pathlib
sys.path.insert(0, sys.argv[2])
from casflow.serialize import deserialize, dumps
folder = pathlib.Path(sys.argv[1])
wrong = []
for file in sorted(folder.glob("*.pickle")):
    data = file.read_bytes()
    source_map = file.with_suffix(".map").read_bytes()
    loaded = deserialize(data, attachments={"source_map": source_map} if source_map else {})
    if dumps(loaded) != data:
        wrong.append(file.stem)
print(json.dumps(wrong))
"""


def test_what_was_loaded_gives_the_same_bytes_again(stored):
    """dumps(loads(blob)) == blob, in a fresh process, but for what cloudpickle cannot restore."""
    command = [sys.executable, "-c", AGAIN, str(stored), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) <= NOT_AGAIN
