"""Kinds of code that other people write: one digest however it is started, and true when loaded.

Each case is a script with an object `f` and an expression that shows how `f` behaves. It is
serialised as a script that is registered by its path, imported, and run, each in a process with
another hash seed, folder and other imports; and it is loaded where neither it nor casflow is.
"""

# ruff: noqa: ISC004

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.serialize.kinds import CASES, FILES
from tests.serialize.matrix import ROOT

if TYPE_CHECKING:
    from pathlib import Path

WRITE = """
import json, sys, types
from pathlib import Path
folder, out, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
sys.path.insert(0, str(folder))
import importlib
from casflow.flow.script import _execute
from casflow.serialize import serialize
found = {}
for file in sorted(folder.glob("kind_*.py")):
    try:
        if how == "path":
            module = _execute(file.read_bytes(), str(file))
        elif how == "run":
            module = sys.modules["__main__"] = types.ModuleType("__main__")
            module.__file__ = str(file)
            exec(compile(file.read_bytes(), str(file), "exec"), vars(module))
        else:
            module = importlib.import_module(file.stem)
        made = serialize(module.f)
        from casflow.digests import digest_of
        found[file.stem] = [digest_of(made.data), list(made.warnings)]
        (out / file.stem).write_bytes(made.data)
        probe = (folder / f"{file.stem}.probe").read_text()
        (out / f"{file.stem}.expected").write_text(repr(eval(probe, {"f": module.f})))
    except Exception as error:
        found[file.stem] = [f"{type(error).__name__}: {error}", []]
print(json.dumps(found))
"""
LOAD = """
import json, pickle, sys
from pathlib import Path
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
wrong = {}
for file in sorted(out.glob("*.expected")):
    probe = (folder / f"{file.stem}.probe").read_text()
    try:
        shown = repr(eval(probe, {"f": pickle.loads((out / file.stem).read_bytes())}))
    except Exception as error:
        shown = repr(error)
    if shown != file.read_text():
        wrong[file.stem] = [file.read_text(), shown]
assert "casflow" not in sys.modules
print(json.dumps(wrong))
"""


def python(*arguments: object, seed: str = "0", before: str = "") -> dict:
    """Run a program that prints JSON."""
    done = subprocess.run(
        [sys.executable, "-c", before + str(arguments[0]), *map(str, arguments[1:])],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write(folder: Path) -> Path:
    """Write all cases and the modules beside them."""
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for name, (source, probe) in CASES.items():
        (folder / f"kind_{name}.py").write_text(source)
        (folder / f"kind_{name}.probe").write_text(probe)
    return folder


@pytest.fixture(scope="session")
def found(tmp_path_factory):
    """What became of each case in each process, and which of them load otherwise."""
    scratch = tmp_path_factory.mktemp("kinds")
    results = []
    for number, (how, seed, before) in enumerate(
        (
            ("path", "1", ""),
            ("import", "2", "import json, asyncio, typing, xml.dom.minidom\n"),
            ("run", "3", "import enum, dataclasses, concurrent.futures, logging.handlers\n"),
        )
    ):
        folder = write(scratch / f"place{number}" / ("deeper/er" if number == 1 else "x"))
        out = scratch / f"out{number}"
        out.mkdir()
        results.append(python(WRITE, folder, out, how, seed=seed, before=before))
    wrong = python(LOAD, scratch / "place0" / "x", scratch / "out0")
    return results, wrong


@pytest.mark.parametrize("name", CASES)
def test_one_digest_and_the_same_behaviour(found, name):
    """However it is started it has one digest, and what is loaded does what was stored."""
    results, wrong = found
    key = f"kind_{name}"
    digests = {result[key][0] for result in results}
    assert len(digests) == 1
    assert next(iter(digests)).startswith("blake3:"), digests
    assert not any("stored as pickled" in each for result in results for each in result[key][1])
    assert key not in wrong, wrong[key]


# Pairs of programs that do different things, and that some serialiser takes for the same one.
PAIRS = {
    "member as in a base": (
        "class A:\n    r = 1\nclass B(A):\n    r = 1\nclass C(A):\n    r = 2\n"
        "class D(B, C):\n    pass\ndef f():\n    return D.r\n",
        ("    r = 1\nclass C", "    pass\nclass C"),
    ),
    "method as in a base": (
        "class A:\n    def go(self): return 1\nclass B(A):\n    go = A.go\n"
        "class C(A):\n    def go(self): return 2\nclass D(B, C):\n    pass\nf = D\n",
        ("    go = A.go", "    pass"),
    ),
    "global of a class body": (
        "CHUNK = 7\ndef f():\n    class Row:\n        size = CHUNK\n    return Row.size\n",
        ("CHUNK = 7", "CHUNK = 8"),
    ),
    "global of a class body below": (
        "N = 7\ndef f():\n    def g():\n        class Row:\n            size: int = N\n"
        "        return Row\n    return g\n",
        ("N = 7", "N = 8"),
    ),
    "attribute of an enum's member": (
        "import enum\nclass E(enum.Enum):\n    A = (1, 'x')\n"
        "    def __new__(cls, v, t):\n        o = object.__new__(cls)\n        o._value_ = v\n"
        "        o.t = t\n        return o\nf = E.A\n",
        ("'x'", "'y'"),
    ),
    "attribute set on an enum's member": (
        "import enum\nclass E(enum.Enum):\n    A = 1\nE.A.t = 1\nf = E\n",
        ("E.A.t = 1", "E.A.t = 2"),
    ),
    "empty slots": ("class A:\n    __slots__ = ()\nf = A\n", ("__slots__ = ()", "pass")),
    "name of a nested class": (
        "class A:\n    class B: pass\nf = A.B\n",
        ("class A:\n    class B: pass\nf = A.B", "class B: pass\nf = B"),
    ),
    "value of a module that only its attribute reads": (
        "import helping\ndef f():\n    return helping.DEBUG\n",
        ("helping.DEBUG", "helping.SEEN"),
    ),
    "default of a keyword": ("def f(*, a=1): return a\n", ("a=1", "a=2")),
    "private name": (
        "class A:\n    __x = 1\n    def go(self): return self.__x\nf = A\n",
        ("__x = 1", "__x = 2"),
    ),
    "variance": (
        "import typing\nf = typing.TypeVar('f', covariant=True)\n",
        ("covariant", "contravariant"),
    ),
    "base": (
        "class A: x = 1\nclass B: x = 1\nclass C(A): pass\nf = C\n",
        ("class C(A)", "class C(B)"),
    ),
    "metaclass": (
        "class M(type): pass\nclass N(type):\n    y = 1\nclass C(metaclass=M): pass\nf = C\n",
        ("metaclass=M", "metaclass=N"),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_two_programs_have_two_digests(tmp_path, name):
    """What is restored would differ, so the digests do; a comment changes neither."""
    source, (old, new) = PAIRS[name]
    assert old in source
    digests = []
    for number, text in enumerate((source, "# comment\n" + source, source.replace(old, new))):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "helping.py").write_text(FILES["helping.py"])
        (folder / "pair.py").write_text(text)
        program = "import sys, json; sys.path.insert(0, sys.argv[1]); import pair, casflow; "
        digests.append(python(program + "print(json.dumps(casflow.digest(pair.f)))", folder))
    assert digests[0] == digests[1] != digests[2]
