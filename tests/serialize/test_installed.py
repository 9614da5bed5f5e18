"""Scripts that lie among installed packages, or in a folder that is only called so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.serialize.matrix import ROOT

FLOW = """
{imports}
from casflow import Flow, task


class Row:
    def __init__(self, value):
        self.value = value


def clean(values):
    return [Row({clean}(each)) for each in values]


@task
def total(values):
    return sum(row.value for row in clean(values))


with Flow("Totals") as flow:
    total([1, 2])
"""
REGISTER = """
import sys
from pathlib import Path
from casflow.serialize import digest
from casflow.flow.script import flow_from_module, flow_from_script
if sys.argv[1] == "module":
    flow = flow_from_module("own_flow")
else:
    path = Path(sys.argv[1])
    flow = flow_from_script(path.read_bytes(), path=str(path))
print(digest(flow))
Path(sys.argv[2]).write_bytes(__import__("casflow.serialize").serialize.dumps(flow))
"""
RUN = """
import pickle, sys
from pathlib import Path
flow = pickle.loads(Path(sys.argv[1]).read_bytes())
assert flow.run().is_successful()
assert not any("own_" in name or "_casflow_script" in name for name in sys.modules)
"""


def python(*arguments, path=()):
    """Run Python far from the flow's folder, with others on its module search path."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([*path, str(ROOT)])}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("distributions", [False, True], ids=["a name", "with distributions"])
@pytest.mark.parametrize("name", ["site-packages", "dist-packages"])
@pytest.mark.parametrize("inside", [".", "deep/er"])
def test_a_script_travels_wherever_it_lies(tmp_path, name, distributions, inside):
    """A task's helpers travel, in the script and beside it, with the digest as elsewhere."""
    folder = tmp_path / "lib" / name / inside
    place = shutil.copytree(_project(tmp_path), folder)
    (tmp_path / "pyproject.toml").touch()  # of a project with a virtual environment within
    if distributions:
        (tmp_path / "lib" / name / "other-1.0.dist-info").mkdir()
    usual = tmp_path / "project"
    digests = [
        python("-c", REGISTER, each / "own_flow.py", tmp_path / "blob", path=[str(each)])
        for each in (usual, place)
    ]
    assert digests[0] == digests[1]
    python("-c", RUN, tmp_path / "blob")


def test_a_module_in_a_folder_that_is_only_called_so_travels(tmp_path):
    """Without distributions in it, a folder is one like others."""
    place = shutil.copytree(_project(tmp_path), tmp_path / "site-packages")
    python("-c", REGISTER, "module", tmp_path / "blob", path=[str(place)])
    python("-c", RUN, tmp_path / "blob")


def _project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "own_flow.py").write_text(FLOW.format(imports="import own_part", clean="own_part.f"))
    (folder / "own_part.py").write_text("def f(x):\n    return int(x)\n")
    return folder
