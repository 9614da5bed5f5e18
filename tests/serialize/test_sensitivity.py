"""What changes the digest of a flow and what does not: one script, edited in many ways."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from casflow.serialize import digest, explain, serialize

HELPER = '''"""A helper."""
RATE = 2

def clean(value):
    return value * RATE

class Reader:
    size = 10

    def read(self):
        return self.size
'''

SCRIPT = '''"""A flow."""
import enum
import dataclasses
import functools
import json
import edited_helper
from edited_helper import Reader

LIMIT = 4
COLUMNS = ["a", "b"]
OPTIONS = {"x": 1, "y": 2}
NAMES = {"n1", "n2"}
UNUSED = 5


def decorate(times):
    def wrap(function):
        @functools.wraps(function)
        def inner(*args):
            return [function(*args) for _ in range(times)]
        return inner
    return wrap


class Task:
    retries = 3

    def __init__(self, function, name=None, tags=()):
        self.function, self.name, self.tags = function, name or function.__name__, set(tags)

    def run(self, *args):
        """Run it."""
        return self.function(*args)


class Careful(Task):
    def run(self, *args):
        return super().run(*args)


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Row:
    left: int = 1
    right: str = "r"


def helper(x):
    return x + LIMIT


def unused_helper(x):
    return x


@decorate(2)
def extract(n=3, *, mode="fast"):
    """Extract."""
    rows = [helper(i) for i in range(n)]
    return rows, COLUMNS, OPTIONS, sorted(NAMES), mode


def transform(rows: list) -> list:
    total = 0
    for row in rows:
        if row in {"skip", "drop"} or row > 2.5:
            total += row * 2
    try:
        return [edited_helper.clean(total), Row(), Color.RED, json.dumps(total)]
    except ValueError:
        return None


def make_load(threshold):
    def load(rows):
        return [row for row in rows if row > threshold], Reader().read()
    return load


class Flow:
    pass


flow = Flow()
flow.name = "edited"
flow.tasks = [Task(extract, tags=["t1", "t2"]), Task(transform), Careful(make_load(7), name="load")]
flow.edges = {(flow.tasks[0], flow.tasks[1]), (flow.tasks[1], flow.tasks[2])}
flow.parameters = {"first": 1, "second": 2}
'''

MEANINGFUL = [
    ("LIMIT = 4", "LIMIT = 5"),
    ("LIMIT = 4", "LIMIT = 4.0"),
    ("LIMIT = 4", "LIMIT = True"),
    ('COLUMNS = ["a", "b"]', 'COLUMNS = ["b", "a"]'),
    ('COLUMNS = ["a", "b"]', 'COLUMNS = ("a", "b")'),
    ('{"x": 1, "y": 2}', '{"y": 2, "x": 1}'),
    ('{"x": 1, "y": 2}', '{"x": 1, "y": 3}'),
    ('{"n1", "n2"}', '{"n1", "n3"}'),
    ('{"n1", "n2"}', '{"n1", "n2", "n3"}'),
    ('{"n1", "n2"}', 'frozenset({"n1", "n2"})'),
    ("return x + LIMIT", "return x - LIMIT"),
    ("return x + LIMIT", "return LIMIT + x"),
    ("@decorate(2)", "@decorate(3)"),
    ("@decorate(2)\n", ""),
    ("return [function(*args) for", "return [None or function(*args) for"),
    ("retries = 3", "retries = 4"),
    ("retries = 3", "retries = 3\n    kind = 'k'"),
    ('"""Run it."""', '"""Run it now."""'),
    ("class Careful(Task):", "class Careful(Task, Reader):"),
    ("return super().run(*args)", "return super().run(*args) or 1"),
    ("RED = 1", "RED = 3"),
    ("BLUE = 2", "BLUE = 2\n    GREEN = 3"),
    ("left: int = 1", "left: int = 2"),
    ('right: str = "r"', 'right: bytes = "r"'),
    ("def extract(n=3", "def extract(n=4"),
    ('mode="fast"', 'mode="slow"'),
    ('"""Extract."""', '"""Extract all."""'),
    ('"""Extract."""\n', "\n"),
    (
        "rows = [helper(i) for i in range(n)]\n    return rows",
        "xs = [helper(i) for i in range(n)]\n    return xs",
    ),
    ('{"skip", "drop"}', '{"skip", "keep"}'),
    ("row > 2.5", "row > 2.25"),
    ("row > 2.5", "row >= 2.5"),
    ("total += row * 2", "total += row * 3"),
    ("total = 0", "total = -0.0"),
    ("except ValueError", "except TypeError"),
    ("rows: list) -> list", "rows: tuple) -> list"),
    ("Color.RED, json", "Color.BLUE, json"),
    ("make_load(7)", "make_load(8)"),
    ("row > threshold", "row < threshold"),
    ('name="load"', 'name="store"'),
    ('tags=["t1", "t2"]', 'tags=["t1"]'),
    ('"edited"', '"renamed"'),
    (", (flow.tasks[1], flow.tasks[2])}", "}"),
    ("{(flow.tasks[0], flow.tasks[1])", "{(flow.tasks[1], flow.tasks[0])"),
    ('{"first": 1, "second": 2}', '{"second": 2, "first": 1}'),
    ("Task(extract, tags", "Careful(extract, tags"),
    ("Task(transform)", "Task(transform, name='other')"),
]

MEANINGFUL_IN_HELPER = [
    ("RATE = 2", "RATE = 3"),
    ("value * RATE", "value + RATE"),
    ("size = 10", "size = 11"),
    ("return self.size", "return self.size + 1"),
]

MEANINGLESS = [
    ('"""A flow."""', '"""Another text of the module."""'),
    ('"""A flow."""', '"""A flow."""\n# a comment\n\n\n'),
    ("def helper(x):\n", "def helper(x):\n    # a comment\n"),
    ("return x + LIMIT", "return x + LIMIT  # a comment"),
    ("return x + LIMIT", "return (x + LIMIT)"),
    ("return x + LIMIT", "return (x\n            + LIMIT)"),
    ("return x + LIMIT", "return  x  +  LIMIT"),
    ("return x + LIMIT", "\n    return x + LIMIT"),
    ('COLUMNS = ["a", "b"]', "COLUMNS = ['a', 'b']"),
    ('COLUMNS = ["a", "b"]', 'COLUMNS = [\n    "a",\n    "b",\n]'),
    ('{"n1", "n2"}', '{"n2", "n1"}'),
    ('{"skip", "drop"}', '{"drop", "skip"}'),
    ('tags=["t1", "t2"]', 'tags=["t2", "t1"]'),
    ("UNUSED = 5", "UNUSED = 6"),
    ("UNUSED = 5\n", ""),
    ("import enum\n", "import enum\nimport decimal\n"),
    ("import enum\nimport dataclasses\n", "import dataclasses\nimport enum\n"),
    ("def unused_helper(x):\n    return x\n", ""),
    ("    retries = 3\n", "    # how often\n\n    retries = 3\n"),
    ("row * 2", "row * (1 + 1)"),
    ("LIMIT = 4", "LIMIT = 0x4"),
    ("LIMIT = 4", "LIMIT = 2 + 2"),
    ('name="load"', "name='lo' 'ad'"),
    ("class Color(enum.Enum):\n", "class Color(enum.Enum):\n    # colours\n"),
    ("{(flow.tasks[0], flow.tasks[1]), (flow.tasks[1], flow.tasks[2])}", "{(flow.tasks[1], flow.tasks[2]), (flow.tasks[0], flow.tasks[1])}"),  # noqa: E501
]  # fmt: skip

MEANINGLESS_IN_HELPER = [
    ('"""A helper."""\n', '"""A helper."""\n# a comment\n\n'),
    ("    return value * RATE", "    # a comment\n    return value * RATE"),
    ("RATE = 2\n", "\n\nRATE = 2\n"),
]


@pytest.fixture
def make(tmp_path):
    """Return the flow that a script and its helper define, freshly imported."""

    def flow(script=SCRIPT, helper=HELPER):
        return serialize(load(tmp_path, script, helper), project=tmp_path)

    yield flow
    for name in ("edited_flow", "edited_helper"):
        sys.modules.pop(name, None)


def load(folder, script, helper):
    """Import script and helper from a folder, and return the flow."""
    for name, source in (("edited_helper", helper), ("edited_flow", script)):
        file = folder / f"{name}.py"
        file.write_text(source)
        spec = importlib.util.spec_from_file_location(name, file)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        exec(compile(source, str(file), "exec"), vars(module))
    return module.flow


def edited(source, edit):
    """Return a source with one edit made."""
    old, new = edit
    assert source.count(old) >= 1, old
    return source.replace(old, new, 1)


def test_the_tables_are_long_enough():
    """At least 40 edits that mean something, and 20 that do not."""
    assert len(MEANINGFUL) + len(MEANINGFUL_IN_HELPER) >= 40
    assert len(MEANINGLESS) + len(MEANINGLESS_IN_HELPER) >= 20


@pytest.mark.parametrize("edit", MEANINGFUL, ids=lambda edit: edit[1][:40])
def test_meaningful_edit_changes_the_bytes(make, edit):
    """Whatever changes what the flow does or says changes its bytes, and is explained."""
    before, after = make(), make(edited(SCRIPT, edit))
    assert before.data != after.data
    assert explain(before.data, after.data)


@pytest.mark.parametrize("edit", MEANINGFUL_IN_HELPER, ids=lambda edit: edit[1])
def test_meaningful_edit_of_helper_changes_the_bytes(make, edit):
    """A module beside the script is part of the flow."""
    assert make().data != make(helper=edited(HELPER, edit)).data


@pytest.mark.parametrize("edit", MEANINGLESS, ids=lambda edit: edit[1][:40])
def test_meaningless_edit_does_not(make, edit):
    """Comments, layout, spelling of constants and what is not used leave the bytes alone."""
    before, after = make(), make(edited(SCRIPT, edit))
    assert explain(before.data, after.data) == []
    assert before.data == after.data


@pytest.mark.parametrize("edit", MEANINGLESS_IN_HELPER, ids=lambda edit: edit[1])
def test_meaningless_edit_of_helper_does_not(make, edit):
    """Comments in a module beside the script leave the bytes alone, but not the source map."""
    before, after = make(), make(helper=edited(HELPER, edit))
    assert before.data == after.data
    assert before.attachments != after.attachments or "RATE = 2" in edit[0]


def test_folder_and_file_name_do_not_matter(tmp_path, make):
    """The same script in another folder gives the same bytes and the same map."""
    before = make()
    other = tmp_path / "other" / "folder"
    other.mkdir(parents=True)
    after = serialize(load(other, SCRIPT, HELPER), project=other)
    assert before.data == after.data
    assert before.attachments == after.attachments


def test_digest_is_that_of_the_bytes(make):
    """`digest` names what `dumps` returns."""
    assert digest([1, {"a", "b"}]) == digest([1, {"b", "a"}])
    assert digest([1, "a"]) != digest([1, "b"])
