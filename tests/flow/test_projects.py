"""Flows that travel as their projects: imports of every kind, data files, agents, two versions."""

from __future__ import annotations

import shutil

import pytest

from tests.store.conftest import contents, write

FLOW = """\
from pathlib import Path
from casflow import Flow, task
import neighbour

@task
def read():
    import app.late  # only now
    from app.deep import relative
    from space import inner
    import subprocess, sys
    here = Path(__file__).parent
    text = (here / "data" / "rows.txt").read_text()
    tool = subprocess.run(
        [sys.executable, "-m", "app.tool"], cwd=here, capture_output=True, text=True, check=True
    ).stdout.strip()
    found = [neighbour.VALUE, app.late.VALUE, relative.VALUE, inner.VALUE, text, tool]
    assert found == [{value}, 2, 2, 4, "rows", "tool 2"], found

with Flow("Project"{given}) as flow:
    read()
"""
FILES = {
    "neighbour.py": "VALUE = 1",
    "app/__init__.py": "",
    "app/late.py": "VALUE = 2",
    "app/tool.py": "from app.late import VALUE\nprint('tool', VALUE)",
    "app/deep/__init__.py": "",
    "app/deep/relative.py": "from ..late import VALUE",
    "space/inner.py": "VALUE = 4",
    "data/rows.txt": "rows",
}


def a_script(value=1, given=""):
    return FLOW.replace("{value}", str(value)).replace("{given}", given)


@pytest.fixture
def project(home):
    return write(home.path.parent / "project", {**FILES, "flow.py": a_script()})


def registered(home, project, *more):
    return home.json("register", "-p", project / "flow.py", "--tree", project, *more)[0]


def test_a_project_runs_where_it_is_not_and_two_versions_do_not_mix(home, project):
    first = registered(home, project)
    assert (first["status"], first["version"]) == ("registered", 1)
    assert registered(home, project)["status"] == "unchanged"
    write(project, {"neighbour.py": "VALUE = 7", "flow.py": a_script(7)})
    second = registered(home, project)
    assert 0 < second["uploaded_bytes"] < first["uploaded_bytes"] + 2000
    shutil.rmtree(project)
    for number in (1, 2, 1):
        ran = home.json("run", "Project", "--version", str(number))
        assert ran["state"] == "Success"
    assert (ran["cache"], ran["downloaded_bytes"]) == ("hit", 0)
    home.casflow("tag", "Project@1", "prod")
    digest = first["digest"]
    for ref in ("Project@1", "Project@prod", f"Project@{digest[7:17]}", digest[7:17], digest):
        assert home.json("run", ref)["version"] == 1
    home.casflow("run", "Project@none", code=3)
    # What ran wrote nothing into the shared folder.
    trees = home.path / "cache" / "trees"
    assert not list(trees.rglob("__pycache__"))


def test_a_flow_can_say_itself_that_its_project_is_stored(home, project):
    write(project / "flows", {"flow.py": a_script(given=', project=".."')})
    text = (project / "flows/flow.py").read_text().replace(".parent\n", ".parent.parent\n")
    write(project / "flows", {"flow.py": text})
    home.json("register", "-p", project / "flows/flow.py", environment={"PYTHONPATH": str(project)})
    shutil.rmtree(project)
    assert home.json("run", "Project")["state"] == "Success"


def test_a_local_agent_runs_a_project(home, project):
    registered(home, project)
    shutil.rmtree(project)
    run = home.json("runs", "create", "Project")
    home.casflow("agent", "start", "--once")
    shown = home.json("runs", "show", run["run"])
    assert shown["state"] == "Success", shown


def test_a_project_is_a_tree_of_the_store(home, project, tmp_path):
    written = contents(project)  # registering imports it, which may leave compiled files there
    registered(home, project)
    home.casflow("tag", "Project@1", "prod")
    home.casflow("checkout", "Project@prod", tmp_path / "out")
    assert contents(tmp_path / "out") == written


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("-m", "flow", "--tree", "."), "--path", 2),
        (("-p", "flow.py", "--tree", "app"), "not in its project", 2),
        (("-p", "flow.py", "--tree", "none"), "not in its project", 2),
    ],
)
def test_a_project_that_cannot_be_is_one_clear_error(home, project, arguments, words, code):
    _, err = home.casflow("register", *arguments, code=code, cwd=project)
    assert words in err
    assert err.count("\n") == 1
