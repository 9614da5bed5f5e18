"""Flows of others by the command line, and the ways of Prefect 1's: build, run -p, watch."""

from __future__ import annotations

import json
import time

import pytest

from casflow.storage.plugins import load

OTHERS = """\
from casflow import Flow as Ours, Parameter, task
import datetime

class State:
    def __init__(self, ok, result): self.ok, self.result, self.message = ok, result, "done"
    def is_successful(self): return self.ok

class Flow:  # as Prefect 1's: it has a schedule, and would wait for its next moment for ever
    def __init__(self, name): self.name = name
    def run(self, parameters=None, run_on_schedule=None, **more):
        while run_on_schedule is not False:
            pass
        n = (parameters or {}).get("n", 1)
        errors = {1: TRIGGERFAIL("upstream"), 2: ValueError("too small")}
        states = {each: State(False, error) for each, error in errors.items()}
        return State(n > 0, n if n > 0 else states)

class TRIGGERFAIL(Exception):
    pass

class Scheduled(Flow):
    pass

old = Scheduled("old")

class Later:  # as a decorated function of Prefect 3
    def __init__(self, name): self.name = name
    def __call__(self, n=1): return n + 1
Later.__name__ = "Flow"
new = Later("new")

@task
def add(n): return n + 1
with Ours("ours") as ours:
    add(Parameter("n", default=1))

def double(n=1): return 2 * n
async def later(n=1): return n
class Named:
    name = "named"
    def run(self, n=1): return n
thing = Named()
"""


@pytest.fixture
def script(home):
    return home.script(text=OTHERS, file="others.py")


def test_whatever_a_class_called_flow_made_is_found(home, script):
    done = home.json("register", script)
    assert sorted(each["flow"] for each in done) == ["new", "old", "ours"]
    for name in ("new", "old", "ours"):
        assert home.json("run", name, "-P", "n=4")["state"] == "Success"
    assert "too small" in home.casflow("run", "old", "-P", "n=0", code=1)[1]


def test_what_is_named_may_be_anything_with_a_name_that_runs(home, script):
    done = home.json("register", "-m", "others:thing", cwd=script.parent)
    assert [each["flow"] for each in done] == ["named"]
    assert home.json("run", "named", "-P", "n=2", cwd=script.parent)["state"] == "Success"
    assert home.json("register", "-m", "others:old", cwd=script.parent)[0]["flow"] == "old"


@pytest.mark.parametrize("name", ["OTHER", "datetime", "State"])
def test_what_is_no_flow_is_not_taken_for_one(home, script, name):
    _, err = home.casflow("register", "-m", f"others:{name}", cwd=script.parent, code=...)
    assert "error:" in err.lower()


def test_a_store_for_all_takes_the_place_of_each_flows_own(home, script, tmp_path):
    text = OTHERS.replace('Scheduled("old")', 'Scheduled("old"); old.storage = object()')
    script.write_text(text)
    _, err = home.casflow("register", script, "-n", "old", code=2)
    assert "--storage" in err
    (done,) = home.json("register", script, "-n", "old", "--storage", tmp_path / "here")
    assert done["location"].startswith(str(tmp_path / "here"))


def test_a_script_is_run_without_a_registration(home, script):
    out, _ = home.casflow("run", "-p", script, "old", "-P", "n=4")
    assert "Success" in out
    assert home.json("run", "--path", script, "ours")["state"] == "Success"
    assert home.json("ls") == []
    assert "name one of" in home.casflow("run", "-p", script, code=2)[1]
    assert "no versions" in home.casflow("run", "-p", script, "--version", "1", code=2)[1]
    home.casflow("run", code=2)


def test_a_flow_sees_the_working_folder_when_it_is_registered_and_when_it_runs(home, script):
    (script.parent / "beside.py").write_text(
        "from casflow import Flow\nfrom casflow.storage import Module\n"
        "flow = Flow('beside', storage=Module('beside'))\n"
    )
    home.casflow("register", "-m", "beside", cwd=script.parent)
    assert home.json("run", "beside", cwd=script.parent)["state"] == "Success"


def test_flows_are_built_here_and_registered_there(home, script, tmp_path):
    home.casflow("build", script, "-n", "ours", "-o", tmp_path / "flows.json")
    assert home.json("ls") == []
    form = json.loads((tmp_path / "flows.json").read_text())
    (built,) = form["flows"]
    assert (form["version"], built["name"]) == (1, "ours")
    assert load(built["storage"]).get_flow("ours").name == "ours"
    home.casflow("build", script, "-n", "old", "-u", "-o", tmp_path / "flows.json")
    built["labels"] = ["elsewhere"]
    done = home.json("register", "--built", tmp_path / "flows.json", "-l", "more")
    assert [each["flow"] for each in done] == ["old", "ours"]
    assert {each["status"] for each in done} == {"registered"}
    assert all(each["uploaded_bytes"] == 0 for each in done)
    again = home.json("register", "--built", tmp_path / "flows.json", "-l", "more")
    assert {each["status"] for each in again} == {"unchanged"}
    assert home.json("run", "ours")["state"] == "Success"


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"version": 2, "flows": []}', '{"version": 1}', "[" * 9999),
        *('{"version": 1, "flows": [1]}', '{"version": 1, "flows": [{"name": "x"}]}'),
        '{"version": 1, "flows": [{"name": "x", "labels": [], "storage": {"type": "Local"}}]}',
    ],
    ids=range(9),
)
def test_a_file_that_is_none_of_build_is_damage(home, tmp_path, text):
    (tmp_path / "flows.json").write_text(text)
    _, err = home.casflow("register", "-j", tmp_path / "flows.json", code=4)
    assert "not a file of `casflow build`" in err


def test_what_is_edited_is_registered_again(home, script):
    with home.start("register", "--watch", script, "-n", "ours") as process:
        try:
            assert "version 1" in process.stdout.readline()
            process.stdout.readline()
            time.sleep(0.05)  # so that the file's time is another one
            script.write_text(OTHERS.replace("return n + 1\nwith", "return n + 7\nwith"))
            assert "version 2" in process.stdout.readline()
        finally:
            process.kill()


@pytest.mark.parametrize(
    "words",
    [
        ("register", "x.py", "--project", "a", "--project", "b"),
        ("run", "x", "--version", "1", "--version", "2"),
        ("run", "x", "-p", "a.py", "--path", "b.py"),
        ("show", "x", "--project", "a", "--project=b"),
        ("gc", "--grace", "1d", "--grace", "2d"),
        ("runs", "ls", "--project", "a", "--project", "b"),
        ("push", ".", "--store", "a", "--store", "b"),
        ("agent", "start", "local", "--name", "a", "--name", "b"),
    ],
    ids=" ".join,
)
def test_an_option_of_which_one_value_counts_is_refused_twice(home, words):
    assert "given 2 times" in home.casflow(*words, code=2)[1]


PREFECT = """\
import os, sys, types
prefect = sys.modules["prefect"] = types.ModuleType("prefect")
prefect.context = {"loading_flow": os.environ.get("PREFECT__CONTEXT__LOADING_FLOW") == "true"}
class Flow:
    def __init__(self, name): self.name = name
    def run(self, parameters=None, run_on_schedule=None):
        assert not sys.modules["prefect"].context.get("loading_flow")
        return 1
    def start(self):
        while not sys.modules["prefect"].context.get("loading_flow"):
            pass
flow = Flow("starts itself")
flow.start()
"""


def test_a_script_that_runs_its_prefect_flow_is_only_loaded(home):
    script = home.script(text=PREFECT, file="starts.py")
    assert home.json("register", script)[0]["flow"] == "starts itself"
    home.casflow("run", "-p", script)


def test_an_agent_without_its_registry_says_that_it_is_away(home):
    away = {"CASFLOW_REGISTRY": "postgresql://u:p@127.0.0.1:1/x"}
    _, err = home.casflow("agent", "start", "local", environment=away, code=7)
    assert "does not answer" in err
