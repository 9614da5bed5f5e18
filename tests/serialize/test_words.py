"""Differences in the words of whoever wrote the code."""

from __future__ import annotations

import subprocess
import sys

import pytest

from casflow.flow.script import flow_from_script
from casflow.serialize import explain, serialize

FLOW = """
from casflow.flow import Flow, task


class Rate:
    value = 7


RATE = 5


def clean(x, scale=1):
    return x + 1


def closed(n):
    def inner():
        return n
    return inner


inner = closed(6)


@task
def transform(x):
    \"\"\"Text.\"\"\"
    return clean(x) ** 2 * RATE + inner() + Rate.value


with Flow("etl") as flow:
    transform(3)
"""
EDITS = {
    "** 2": ("** 4", "task transform: constant 2 -> 4"),
    "x + 1": ("x + 9", "words.py: function clean (line 12): constant 1 -> 9"),
    "x + 1  ": ("x - 1", "words.py: function clean (line 12): instructions changed"),
    "RATE = 5": ("RATE = 8", "task transform: global RATE 5 -> 8"),
    "closed(6)": ("closed(4)", "words.py: function inner (line 17): variable n 6 -> 4"),
    "scale=1": ("scale=2", "words.py: function clean (line 12): default 1 -> 2"),
    "value = 7": ("value = 8", "class Rate: value 7 -> 8"),
    "transform(3)": ("transform(4)", "argument 0 3 -> 4"),
    "Text.": ("Words.", "task transform: constant 'Text.' -> 'Words.'"),
}


def made(text, path):
    """Serialise the flow of a text."""
    result = serialize(flow_from_script(text.encode(), path=path))
    return result.data, result.attachments["source_map"]


@pytest.mark.parametrize("old", EDITS)
def test_an_edit_is_told_as_people_say_it(tmp_path, old):
    """One edit, one line, without a word of byte code."""
    new, told = EDITS[old]
    old = old.strip()
    path = str(tmp_path / "words.py")
    (tmp_path / "words.py").write_text(FLOW)
    one, two = made(FLOW, path), made(FLOW.replace(old, new, 1), path)
    lines = [each.describe() for each in explain(one[0], two[0], (one[1], two[1]))]
    assert told in lines
    assert not any("co_code" in line or "\\x" in line for line in lines)


SHARED = """
from casflow.flow import Flow, task


def one(x):
    return x ** 2


def two(x):
    return x ** 2


def three(x, power=(7, 8)):
    return x ** 2 in (7, 8)


@task
def transform(x):
    return one(x) ** 2 + two(x) + three(x)


with Flow("etl") as flow:
    transform(3)
"""


def test_what_several_functions_share_is_told_of_each(tmp_path):
    """Equal constants are one object in a pickle, and belong to every function that has them."""
    path = str(tmp_path / "shared.py")
    blobs = [made(text, path) for text in (SHARED, SHARED.replace("** 2", "** 3"))]
    found = explain(blobs[0][0], blobs[1][0], (blobs[0][1], blobs[1][1]))
    told = [each.describe() for each in found]
    assert sorted(told) == sorted(
        f"{subject}: constant 2 -> 3"
        for subject in (
            "task transform",
            "shared.py: function one (line 5)",
            "shared.py: function two (line 9)",
            "shared.py: function three (line 13)",
        )
    )
    again = made(SHARED.replace("8)", "9)"), path)
    told = [each.describe() for each in explain(blobs[0][0], again[0], (blobs[0][1], again[1]))]
    three = "shared.py: function three (line 13)"
    assert sorted(told) == [f"{three}: constant 8 -> 9", f"{three}: default 8 -> 9"]


def test_the_command_says_it(tmp_path):
    """`casflow diff` compares two scripts in these words."""
    for name, text in (("one", FLOW), ("two", FLOW.replace("** 2", "** 3"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "words.py").write_text(text)
    command = [sys.executable, "-m", "casflow", "diff", "one/words.py", "two/words.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["task transform: constant 2 -> 3"], done.stderr
