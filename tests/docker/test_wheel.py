"""The running casflow as a wheel."""

from __future__ import annotations

import subprocess
import sys

import casflow
from casflow.storage.docker.wheel import make_wheel
from tests.services.presence import find_program, require


def test_it_is_the_same_every_time_and_holds_what_runs(tmp_path):
    name, data = make_wheel()
    assert (name, data) == make_wheel()
    assert name == f"casflow-{casflow.__version__}-py3-none-any.whl"
    (tmp_path / name).write_bytes(data)
    code = "import casflow, casflow.storage.docker as d; print(casflow.__file__, d.Docker.__name__)"
    path = [str(tmp_path / name), *(each for each in sys.path if "site-packages" in each)]
    program = f"import sys; sys.path[:0] = {path!r}; {code}"
    said = subprocess.check_output([sys.executable, "-P", "-c", program], text=True, cwd=tmp_path)
    assert said.split() == [str(tmp_path / name / "casflow/__init__.py"), "Docker"]


def test_pip_takes_it(tmp_path):
    name, data = make_wheel()
    (tmp_path / name).write_bytes(data)
    require("pip", "uv", install="uv")
    command = [find_program("uv"), "pip", "install", "--no-deps", "--target"]
    command += [tmp_path / "to", tmp_path / name]
    subprocess.check_call(command)
    assert (tmp_path / "to/casflow/py.typed").exists()
    assert (tmp_path / "to/bin/casflow").exists()
