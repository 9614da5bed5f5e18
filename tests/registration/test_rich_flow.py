"""A flow with everything that makes pickles differ, registered by processes that differ."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

HELPER = """\
import enum

class Level(enum.Enum):
    LOW = 1
    HIGH = 2

def weigh(value):
    return value * 2
"""

RICH = """\
import abc
from dataclasses import dataclass, field

import numpy
import pydantic

from casflow import Flow, Parameter, task
from helper import Level, weigh

COLUMNS = {"region", "product", "price", "quantity", "day"}
TABLE = numpy.arange(12).reshape(3, 4)

class Row(pydantic.BaseModel):
    name: str
    tags: set[str] = {"a", "b", "c"}

@dataclass(frozen=True)
class Limits:
    names: frozenset = frozenset({"x", "y", "z"})
    levels: tuple = (Level.LOW, Level.HIGH)
    sizes: dict = field(default_factory=lambda: {"s": {1, 2}, "l": {3, 4}})

class Step(abc.ABC):
    @abc.abstractmethod
    def apply(self, value): ...

class Double(Step):
    def apply(self, value):
        return weigh(value)

class Bounded(Double):
    limits = Limits()
    def apply(self, value):
        if value in {1, 2, 3}:
            return super().apply(value)
        raise ValueError(f"out of bounds: {value}")  # the true line

def closing_over(step, names):
    def run(value):
        return step.apply(value) + len(names) + int(TABLE.sum())
    return run

@task
def compute(value):
    return closing_over(Bounded(), COLUMNS)(value), Row(name="r").tags == {"c", "b", "a"}

with Flow("Rich") as flow:
    compute(Parameter("value", default=2))
"""

FACTORS = [
    {"PYTHONHASHSEED": "0"},
    {"PYTHONHASHSEED": "1"},
    {"PYTHONHASHSEED": "77", "PYTHONDONTWRITEBYTECODE": "1"},
    {"HOME": "/nowhere", "USER": "somebody"},
    {"PYTHONOPTIMIZE": ""},
]


@pytest.fixture
def project(home, tmp_path):
    """Return a function that writes the script and its helper to a folder."""

    def write(folder="project", script=RICH, helper=HELPER):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        (place / "flow.py").write_text(script)
        (place / "helper.py").write_text(helper)
        return place / "flow.py"

    return write


@pytest.mark.slow
def test_processes_that_differ_register_one_version(home, project, tmp_path):
    results = []
    for number, factors in enumerate(FACTORS * 2):
        script = project("project" if number % 3 else f"elsewhere-{number}")
        cwd = script.parent if number % 2 else tmp_path
        named = script.name if number % 2 else script
        results += home.json("register", "-p", named, environment=factors, cwd=cwd)
    assert [each["status"] for each in results] == ["registered"] + ["unchanged"] * (
        len(FACTORS) * 2 - 1
    )
    assert len({each["digest"] for each in results}) == 1
    assert len(home.references()) == 1


def test_code_without_columns_has_another_source_map_only(home, project):
    script = project()
    (first,) = home.json("register", "-p", script)
    (second,) = home.json("register", "-p", script, environment={"PYTHONNODEBUGRANGES": "1"})
    assert (second["status"], second["digest"]) == ("unchanged", first["digest"])
    assert second["version"] == 1
    assert len(home.references()) == 2


def test_importing_the_script_is_the_same_as_running_it(home, project):
    script = project()
    (first,) = home.json("register", "-p", script)
    (second,) = home.json("register", "-m", "flow", cwd=script.parent)
    assert second["digest"] == first["digest"]


def test_an_edited_helper_is_a_new_version_and_a_comment_is_not(home, project):
    (first,) = home.json("register", "-p", project())
    commented = HELPER.replace("    return value", "    # why\n\n    return value")
    (second,) = home.json("register", "-p", project(helper=commented))
    (third,) = home.json("register", "-p", project(helper=HELPER.replace("* 2", "* 3")))
    assert [each["status"] for each in (first, second, third)] == [
        "registered",
        "unchanged",
        "registered",
    ]
    assert [each["version"] for each in (first, second, third)] == [1, 1, 2]


def test_the_flow_runs_where_neither_script_nor_helper_is(home, project):
    script = project()
    home.json("register", "-p", script)
    shutil.rmtree(script.parent)
    ran = home.json("run", "Rich", "-P", "value=3")
    assert ran["state"] == "Success"


@pytest.mark.parametrize("blank", [0, 3])
def test_a_traceback_shows_the_true_line(home, project, tmp_path, blank):
    home.json("register", "-p", project())
    home.json("register", "-p", project(script="\n" * blank + RICH))  # moves the lines only
    code = (
        "import traceback; from casflow.registry import Registry; from casflow.storage import load;"
        "from casflow import config;"
        "version = Registry(config.load().registry).get_version(None, 'Rich');"
        "state = load(version.storage).get_flow('Rich').run(parameters={'value': 9});"
        "error = [each.exception for each in state.result.values() if each.exception][0];"
        "print([(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)][-1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=home.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    line = RICH.split("\n").index(
        next(each for each in RICH.split("\n") if "# the true line" in each)
    )
    assert "flow.py" in done.stdout
    assert str(line + 1 + blank) in done.stdout
