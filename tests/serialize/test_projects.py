"""Flows that are made of files: what travels, what is refused, and what tracebacks show."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from casflow.serialize import deserialize, loads, serialize

ROOT = Path(__file__).parents[2]
FLOW = """
import travelling_helper


class Step:
    def run(self, x):
        return travelling_helper.double(x)


def fail():
    number = 1

    raise ValueError(number)


class Flow:
    name = "travelling"


flow = Flow()
flow.steps = [Step().run, fail]
"""
HELPER = """
def double(x):
    if x is None:
        raise TypeError("nothing to double")
    return 2 * x
"""
REGISTER = """
import sys, pathlib, json
sys.path[:0] = [{root!r}, {folder!r}]
from casflow.serialize import serialize
import travelling_flow
result = serialize(travelling_flow.flow)
out = pathlib.Path({folder!r}).parent
(out / "flow.blob").write_bytes(result.data)
(out / "flow.map").write_bytes(result.attachments["source_map"])
print(json.dumps(dict(result.environment)))
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a script and a helper beside it."""
    place = tmp_path / "project"
    place.mkdir()
    (place / "travelling_flow.py").write_text(FLOW)
    (place / "travelling_helper.py").write_text(HELPER)
    return place


def register(folder):
    """Serialise the flow of a folder in a process of its own; return blob, map, environment."""
    code = REGISTER.format(root=str(ROOT), folder=str(folder))
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    parent = folder.parent
    blob, source_map = (parent / "flow.blob").read_bytes(), (parent / "flow.map").read_bytes()
    return blob, source_map, json.loads(done.stdout)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that writes and imports a module in a folder of its own."""
    made = []

    def make(name, source, folder="."):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        (place / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(str(place))
        importlib.invalidate_caches()
        made.append(name)
        return importlib.import_module(name)

    yield make
    for name in made:
        sys.modules.pop(name, None)


def test_flow_runs_where_neither_script_nor_helper_is(folder):
    """The blob carries the modules of the project."""
    blob, source_map, environment = register(folder)
    for file in folder.iterdir():
        file.unlink()
    loaded = deserialize(blob, attachments={"source_map": source_map})
    assert loaded.steps[0](4) == 8
    assert pickle.loads(blob).steps[0](5) == 10
    assert set(environment["files"]) == {"travelling_flow.py", "travelling_helper.py"}


def test_edit_of_helper_changes_the_blob_and_comment_only_the_map(folder):
    """What the helper does is in the digest; where its lines are is in the map."""
    helper = folder / "travelling_helper.py"
    blob, source_map, _ = register(folder)
    helper.write_text("# a comment\n" + HELPER)
    commented, moved_map, _ = register(folder)
    assert commented == blob
    assert moved_map != source_map
    helper.write_text(HELPER.replace("2 * x", "3 * x"))
    assert register(folder)[0] != blob


@pytest.mark.parametrize("lines", [0, 3, 700])
def test_traceback_shows_true_file_and_line(folder, lines):
    """With the map in place a traceback names the file and the line of the edit."""
    (folder / "travelling_flow.py").write_text("# comment\n" * lines + FLOW)
    (folder / "travelling_helper.py").write_text("\n" * lines + HELPER)
    blob, source_map, _ = register(folder)
    loaded = deserialize(blob, attachments={"source_map": source_map})
    assert frames(loaded.steps[1]) == [("travelling_flow.py", 13 + lines, "fail")]
    assert frames(loaded.steps[0], None) == [
        ("travelling_flow.py", 7 + lines, "run"),
        ("travelling_helper.py", 4 + lines, "double"),
    ]


def frames(function, *args):
    """Return file, line and name of the frames of the error that a call raises."""
    try:
        function(*args)
    except (TypeError, ValueError) as error:
        found = traceback.extract_tb(error.__traceback__)[1:]
        return [(frame.filename, frame.lineno, frame.name) for frame in found]
    raise AssertionError("no error")


def test_map_of_a_large_blob_is_put_back_without_joining(module):
    """Blobs above 1 MiB are read in pieces; the result is the same."""
    etl = module(
        "large_etl", "DATA = bytes(range(256)) * 8192\ndef f():\n    return 1 / len(DATA[:0])\n"
    )
    result = serialize(etl.f)
    assert len(result.data) > 1 << 20
    loaded = deserialize(result.data, attachments=result.attachments)
    assert loaded.__globals__["DATA"] == etl.DATA
    with pytest.raises(ZeroDivisionError) as caught:
        loaded()
    assert caught.traceback[-1].lineno + 1 == 3


def test_two_versions_in_one_process_do_not_share_classes(module):
    """Loading the second does not change what the first does."""
    source = "class Step:\n    def run(self):\n        return {}\n"
    first = serialize(module("version_one", source.format(1)).Step()).data
    second = serialize(module("version_two", source.format(2)).Step()).data
    one = loads(first)
    two = loads(second)
    assert (one.run(), two.run()) == (1, 2)
    assert type(one) is not type(two)
    assert type(loads(first)) is type(one)


def test_module_outside_the_project_travels(module):
    """Whatever has a source file and is not installed travels: a plug-in folder, PYTHONPATH."""
    module("stranger_elsewhere", "def f():\n    return 1\n", "elsewhere")
    etl = module(
        "stranger_etl", "from stranger_elsewhere import f\ndef g():\n    return f()\n", "here"
    )
    data = serialize(etl.g, project=Path(etl.__file__).parent).data
    del sys.modules["stranger_elsewhere"]
    assert pickle.loads(data)() == 1


LATE = {
    "import": "import late_helper\n    return late_helper.x",
    "from": "from late_helper import get\n    return get()",
    "package": "import late_pack.sub\n    return late_pack.sub.x",
    "from package": "from late_pack import sub\n    return sub.x",
    "nested": "from late_pack.sub import far\n    return far()",
}


@pytest.mark.parametrize("how", LATE)
def test_what_a_function_imports_when_it_runs_travels(module, tmp_path, how):
    """It is found by the functions of the blob, and by nobody else."""
    module("late_helper", "x = 1\ndef get():\n    return x\n")
    pack = tmp_path / "late_pack"
    pack.mkdir()
    (pack / "__init__.py").write_text("")
    source = "x = 1\ndef far():\n    from . import more\n    return more.y\n"
    (pack / "sub.py").write_text(source)
    (pack / "more.py").write_text("y = 1\n")
    name = f"late_etl_{len(how)}"
    etl = module(name, f"def g():\n    {LATE[how]}\n")
    data = serialize(etl.g).data
    for each in [each for each in sys.modules if each.startswith("late_pack")]:
        del sys.modules[each]
    code = (
        "import pickle, sys; g = pickle.load(sys.stdin.buffer); print(g());"
        "assert not any(name.startswith('late') for name in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], input=data, capture_output=True, check=False
    )
    assert done.stdout.strip() == b"1", done.stderr.decode()


def test_modules_that_import_each_other_travel(module, tmp_path):
    """A cycle of modules by value is one, and loads."""
    two = "import circle_one\ndef two(n):\n    return n and circle_one.one(n - 1)\n"
    (tmp_path / "circle_two.py").write_text(two)
    one = module(
        "circle_one", "import circle_two\ndef one(n):\n    return n and circle_two.two(n - 1)\n"
    )
    data = serialize(one.one).data
    for name in ("circle_one", "circle_two"):
        del sys.modules[name]
    assert pickle.loads(data)(5) == 0


def test_environment_names_versions_and_distributions(module):
    """By-reference code is not in the digest, so its versions are told."""
    etl = module(
        "env_etl", "import numpy\ndef f():\n    import click\n    return numpy.ones(1), click\n"
    )
    environment = serialize(etl.f).environment
    assert environment["python"] == ".".join(map(str, sys.version_info[:3]))
    assert environment["python_tag"] == sys.implementation.cache_tag
    assert environment["modules"]["numpy"].startswith("numpy==")
    assert environment["modules"]["click"].startswith("click==")
    assert environment["files"]["env_etl.py"].startswith("blake3:")
    json.dumps(environment)


def test_no_path_of_this_machine_is_stored(folder):
    """Neither blob nor map nor environment says where the project lies."""
    blob, source_map, environment = register(folder)
    here = str(folder).encode()
    assert here not in blob
    assert here not in source_map
    assert here not in json.dumps(environment).encode()
