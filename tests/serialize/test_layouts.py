"""Projects as people lay them out: one digest whoever drives them, and all of it travels.

Each case is a project and several programs that reach its object `f`. All of them must give the
same bytes, and these must load and behave where the project is not.
"""

# ruff: noqa: E501, ISC004

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.serialize.matrix import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PATH = (
    "sys.path.insert(0, os.path.dirname(file)); from casflow.flow.script import _execute\n"
    "f = _execute(open(file, 'rb').read(), file).f\n"
)
ETL = "from flows.common import scale\ndef f(x=2):\n    return scale(x)\n"
COMMON = "FACTOR = 3\ndef scale(x):\n    return x * FACTOR\n"
PACKAGE = {"flows/__init__.py": "", "flows/etl.py": ETL, "flows/common.py": COMMON}
BESIDE = {"etl.py": "import lib\ndef f(x=2):\n    return lib.scale(x)\n"}
# By case: files; what runs after `file = …/<the script>`; the script; how `f` behaves.
CASES = {
    # Who holds the object is not its script.
    "driver in another folder": (
        {**PACKAGE, "ci/deploy.py": "from flows.etl import f\nkept = [f]\n"},
        (
            "sys.path.insert(0, root); from flows.etl import f",
            "sys.path[:0] = [root + '/ci', root]; import deploy; f = deploy.kept[0]",
            "sys.path.insert(0, root); " + PATH,
        ),
        "flows/etl.py",
        "f()",
    ),
    "driver that makes a partial": (
        {
            **PACKAGE,
            "ci/deploy.py": "import functools, flows.etl\n"
            "f = functools.partial(flows.etl.f, x=5)\n",
        },
        (
            "sys.path[:0] = [root + '/ci', root]; from deploy import f",
            "sys.path.insert(0, root); import functools, flows.etl as e; f = functools.partial(e.f, x=5)",
        ),
        "flows/etl.py",
        "f()",
    ),
    "driver by location": (
        {**BESIDE, "lib.py": COMMON},
        (
            "sys.path.insert(0, root); from etl import f",
            "sys.path.insert(0, root); import importlib.util as u; s = u.spec_from_file_location('job', file)\n"
            "m = u.module_from_spec(s); sys.modules['job'] = m; s.loader.exec_module(m); f = m.f",
            PATH,
        ),
        "etl.py",
        "f()",
    ),
    # What else was imported.
    "package with other modules imported": (
        {
            "fl/__init__.py": "",
            "fl/common.py": COMMON,
            "fl/other.py": "x = object()\n",
            "etl.py": "import fl.common\ndef f():\n    return fl.common.scale(1)\n",
        },
        (
            "sys.path.insert(0, root); from etl import f",
            "sys.path.insert(0, root); import fl.other; from etl import f",
        ),
        "etl.py",
        "f()",
    ),
    "module that has warned": (
        {
            **BESIDE,
            "lib.py": "import warnings\n" + COMMON + "def warn():\n    warnings.warn('x')\n",
        },
        (
            "sys.path.insert(0, root); from etl import f",
            "sys.path.insert(0, root); import lib; lib.warn(); from etl import f",
        ),
        "etl.py",
        "f()",
    ),
    "name in quotes that others resolve": (
        {
            "etl.py": "import typing as t\nclass Node:\n    below: 't.List[Node]' = []\n"
            "def f(x: t.Optional['Node'] = None):\n    return Node.below\n",
            "other.py": "import typing as t\nclass Node:\n    size = 1\nt.Optional['Node']\n"
            "class Use:\n    x: t.Optional['Node'] = None\nt.get_type_hints(Use)\n",
        },
        (
            "sys.path.insert(0, root); from etl import f",
            "sys.path.insert(0, root); import other; from etl import f",
            "sys.path.insert(0, root); from etl import f; import typing; typing.get_type_hints(f)",
        ),
        "etl.py",
        "f()",
    ),
    "settings that are not used": (
        {
            "etl.py": "import settings\ndef f():\n    return settings.LIMIT\n",
            "settings.py": "import pathlib, time\nBASE_DIR = pathlib.Path(__file__).parent\n"
            "STARTED = time.time()\nLIMIT = 4\n",
        },
        ("sys.path.insert(0, root); from etl import f", PATH),
        "etl.py",
        "f()",
    ),
    # What travels.
    "search path": (
        {**BESIDE, "plugins/lib.py": COMMON},
        (
            "sys.path[:0] = [root, root + '/plugins']; from etl import f",
            "sys.path[:0] = [root + '/plugins', root]; import lib; from etl import f",
        ),
        "etl.py",
        "f()",
    ),
    "nested namespace packages": (
        {
            "space/deep/tool.py": COMMON,
            "etl.py": "from space.deep import tool\ndef f():\n    return tool.scale(2)\n",
        },
        (
            "sys.path.insert(0, root); from etl import f",
            "sys.path.insert(0, root); import space.deep.tool; from etl import f",
            PATH,
        ),
        "etl.py",
        "f()",
    ),
    "module in an archive": (
        {**BESIDE, "lib.zip": COMMON},
        (
            "sys.path[:0] = [root, root + '/lib.zip']; from etl import f",
            "sys.path[:0] = [root + '/lib.zip', root]; import lib; from etl import f",
        ),
        "etl.py",
        "f()",
    ),
    "module behind a link": (
        {**BESIDE, "shared/real_name.py": COMMON, "lib.py -> shared/real_name.py": ""},
        ("sys.path.insert(0, root); from etl import f", PATH),
        "etl.py",
        "f()",
    ),
    "module as byte code alone": (
        {**BESIDE, "lib.pyc": COMMON},
        (
            "sys.path.insert(0, root); from etl import f",
            "sys.path.insert(0, root); import lib; from etl import f",
        ),
        "etl.py",
        "f()",
    ),
    "weak values and events": (
        {
            **BESIDE,
            "lib.py": "import threading, weakref\nDONE = threading.Event()\nclass K:\n    pass\n"
            "ALIVE = weakref.WeakValueDictionary()\nSEEN = weakref.WeakSet()\nWAIT = threading.Condition()\n"
            "def scale(x):\n    k = ALIVE['k'] = K()\n    SEEN.add(k)\n    with WAIT:\n"
            "        return len(ALIVE), len(SEEN), DONE.is_set()\n",
        },
        (
            "sys.path.insert(0, root); from etl import f",
            "sys.path.insert(0, root); import asyncio, concurrent.futures; from etl import f",
        ),
        "etl.py",
        "f()",
    ),
    "module that a function imports by name": (
        {
            "etl.py": "def f():\n    import importlib\n    return importlib.import_module('json').dumps(1)\n"
        },
        ("sys.path.insert(0, root); from etl import f", PATH),
        "etl.py",
        "f()",
    ),
}
if sys.version_info >= (3, 12):
    CASES["type statements"] = (
        {
            "etl.py": "type Row = dict[str, int]\ntype Tree[T] = T | list[Tree[T]]\n"
            "def first[T: (int, str)](x: list[T]) -> T:\n    return x[0]\nclass Box[T]:\n"
            "    def __init__(self, x: T):\n        self.x = x\ndef f(row: Row = {}, t: Tree[int] = 1):\n"
            "    return first([1]), Box[int](2).x, Row.__name__, Tree.__type_params__[0].__name__\n"
        },
        (
            "sys.path.insert(0, root); from etl import f",
            "import typing, json; sys.path.insert(0, root); from etl import f",
            PATH,
        ),
        "etl.py",
        "f()",
    )


def write(root: Path, files: dict[str, str]) -> None:
    """Write a project: modules, links, archives, modules without their source."""
    for each, source in files.items():
        name, _, target = each.partition(" -> ")
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if target:
            file.symlink_to(target)
        elif file.suffix == ".zip":
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr(f"{file.stem}.py", source)
        elif file.suffix == ".pyc":
            import py_compile

            file.with_suffix(".py").write_text(source)
            py_compile.compile(str(file.with_suffix(".py")), str(file), dfile=f"{file.stem}.py")
            file.with_suffix(".py").unlink()
        else:
            file.write_text(source)


def run(program: str, *arguments: object, data: bytes = b"", path: str = "", seed: str) -> bytes:
    """Run a program in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        input=data,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONHASHSEED": seed},
        cwd="/",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("name", CASES)
def test_one_digest_however_it_is_reached(tmp_path, name):
    """In another folder each, with other seeds; and the blob needs nothing of the project."""
    files, ways, script, probe = CASES[name]
    made = []
    for number, way in enumerate(ways):
        root = tmp_path / f"place {number}" / "deep" / "project"
        write(root, files)
        (root / "pyproject.toml").touch()
        program = (
            "import os, sys; root, file = sys.argv[1:]; sys.dont_write_bytecode = True\n"
            f"{way}\nfrom casflow.serialize import serialize; made = serialize(f)\n"
            "assert not made.warnings, made.warnings; sys.stdout.buffer.write(made.data)"
        )
        made.append(run(program, root, root / script, path=str(ROOT), seed=str(number)))
    assert len(set(made)) == 1
    load = f"import pickle, sys; f = pickle.load(sys.stdin.buffer); print({probe})"
    live = f"import os, sys; root, file = sys.argv[1:]\n{ways[0]}\nprint({probe})"
    shown = run(live, root, root / script, path=str(ROOT), seed="7")
    assert run(load, data=made[0], seed="8") == shown
