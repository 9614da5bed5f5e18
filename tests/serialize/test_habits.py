"""What libraries count and note in the objects that they make is not in the digest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.serialize.matrix import ROOT

TABLE = """
import sqlalchemy as sa
{before}
t = sa.Table("t", sa.MetaData(), sa.Column("a", sa.Integer), sa.Column("b", sa.{kind}))
f = t
"""
PARAMETER = """
import luigi
{before}
class T(luigi.Task):
    a = luigi.IntParameter(default={default})
    b = luigi.Parameter(default="x")
f = T
"""
FIELD = """
import marshmallow as m
{before}
class S(m.Schema):
    a = m.fields.Int()
    b = m.fields.{kind}()
f = S
"""
STEP = """
from prefect import task
{before}
@task
def f(a):
    return a + {number}
"""
STATEMENT = """
import sqlalchemy as sa
{before}
t = sa.table("t", sa.column("a"), sa.column("b"))
f = sa.select(t).where(t.c.a.in_([1, 2]), t.c.b == {number}, sa.func.lower(t.c.a) != t.c.b)
"""
TYPED = """
def f(__beartype_func=len, *, __beartype_object_{before}=int):
    return __beartype_func([__beartype_object_{before}]) + {number}
"""
# Source, what changes nothing, and what changes something.
CASES = {
    "sqlalchemy": (
        TABLE,
        {"before": "", "kind": "String"},
        {"before": "sa.Column('other', sa.Integer)"},
        {"kind": "Integer"},
    ),
    "sqlalchemy.sql": (
        STATEMENT,
        {"before": "", "number": "1"},
        {"before": "kept = [object() for _ in range(999)]"},
        {"number": "2"},
    ),
    "luigi": (
        PARAMETER,
        {"before": "", "default": "1"},
        {"before": "luigi.Parameter()"},
        {"default": "2"},
    ),
    "marshmallow": (
        FIELD,
        {"before": "", "kind": "Str"},
        {"before": "m.fields.Int()"},
        {"kind": "Date"},
    ),
    "prefect": (STEP, {"before": "", "number": "1"}, {"before": "# comment"}, {"number": "2"}),
    "builtins": (  # names as beartype makes them
        TYPED,
        {"before": 94123456789012, "number": 1},
        {"before": 94987654321098},
        {"number": 2},
    ),
}


def digest(folder, source):
    """Return the digest of `f` of a script in a process of its own."""
    folder.mkdir()
    (folder / "habit.py").write_text(source)
    program = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import habit, casflow; "
        "print(json.dumps(casflow.digest(habit.f)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("library", CASES)
def test_a_habit_is_not_in_the_digest(tmp_path, library):
    """One unrelated object or line before changes nothing; a change of the object does."""
    if find_spec(library.partition(".")[0]) is None:
        pytest.skip(f"needs {library}")
    template, usual, same, other = CASES[library]
    digests = [
        digest(tmp_path / str(number), template.format(**{**usual, **changes}))
        for number, changes in enumerate(({}, same, other))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_an_attribute_of_that_name_of_ones_own_counts(tmp_path):
    """A class of the project that counts by the same name says something by it."""
    source = "class C: pass\nf = C()\nf._creation_order = {0}\nf._counter = {0}\n"
    digests = [digest(tmp_path / str(n), source.format(n)) for n in (1, 2)]
    assert digests[0] != digests[1]
