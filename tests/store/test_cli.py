"""Trees from the command line: two machines, one store, as in CI and cron."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.home import Home
from tests.store.conftest import write

MAIN = """\
import pathlib, sys
import etl.late
print("ran", etl.late.VALUE, pathlib.Path("etl/data.csv").read_text(), *sys.argv[1:])
sys.exit(3)
"""


@pytest.fixture
def machines(tmp_path):
    return Home(tmp_path / "ci"), Home(tmp_path / "agent")


@pytest.fixture
def project(tmp_path):
    files = {"etl/__main__.py": MAIN, "etl/late.py": "VALUE = 1", "etl/data.csv": "a"}
    return write(tmp_path / "proj", files)


@pytest.mark.service
def test_two_machines_and_one_bucket(machines, project, s3_server, tmp_path):
    ci, agent = machines
    options = {
        "environment": {**s3_server.environ, "CASFLOW_STORE": f"s3://{s3_server.bucket()}/x"}
    }
    run = ("exec", "proj@prod", "--", sys.executable, "-m", "etl", "--x")
    first = ci.json("push", project, **options)
    assert (first["status"], first["version"], first["uploaded_bytes"] > 0) == ("pushed", 1, True)
    ci.casflow("tag", "proj@1", "prod", **options)
    assert agent.casflow(*run, code=3, **options) == ("ran 1 a --x\n", "")
    write(project, {"etl/late.py": "VALUE = 2"})
    assert ci.json("push", project, "--dry-run", **options)["version"] == 2
    assert ci.json("push", project, **options)["version"] == 2
    assert agent.casflow(*run, code=3, **options)[0] == "ran 1 a --x\n"
    ci.casflow("tag", "proj", "prod", **options)
    assert agent.casflow(*run, code=3, **options)[0] == "ran 2 a --x\n"
    ci.casflow("tag", "proj@1", "prod", **options)  # the rollback
    assert agent.casflow(*run, code=3, **options)[0] == "ran 1 a --x\n"
    moves = ci.json("log", "proj@prod", **options)
    assert [move["version"] for move in moves] == [1, 2, 1]
    shown = ci.json("log", "proj", **options)
    assert [(each["version"], each["tags"]) for each in shown] == [(2, []), (1, ["prod"])]
    # By digest it runs with the store gone.
    gone = {"environment": {"CASFLOW_STORE": str(tmp_path / "nowhere")}}
    pinned = ("exec", f"proj@{first['digest']}", "--", sys.executable, "-m", "etl")
    assert agent.casflow(*pinned, code=3, **gone) == ("ran 1 a\n", "")


def test_an_edited_checkout_is_seen(machines, project, tmp_path):
    home, _ = machines
    home.casflow("push", project)
    out = tmp_path / "out"
    assert home.casflow("checkout", "proj@1", out)[0] == f"{out}\n"
    assert home.casflow("status", out)[0].startswith("on proj@1")
    write(out, {"etl/late.py": "VALUE = 3", "etl/new.py": ""})
    (out / "etl/data.csv").unlink()
    shown = home.casflow("status", out, code=1)[0].splitlines()[1:]
    assert shown == ["D\tetl/data.csv", "M\tetl/late.py", "A\tetl/new.py"]
    assert home.casflow("diff", "proj@1", out)[0].splitlines() == shown
    home.casflow("status", project, code=3)


def test_files_are_printed_and_versions_copied(machines, project, tmp_path):
    home, _ = machines
    home.casflow("push", project)
    assert home.casflow("cat", "proj@1:etl/late.py")[0] == "VALUE = 1"
    assert home.casflow("cat", "proj")[0].splitlines()[0] == "etl/__main__.py"
    other = tmp_path / "other"
    assert home.json("copy", home.path / "flows", "proj@1", other)["status"] == "copied"
    assert home.json("copy", home.path / "flows", "proj@1", other)["status"] == "unchanged"
    assert home.json("checkout", "proj", "--store", other)["version"] == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("push", "none"), 3),
        (("checkout", "none"), 3),
        (("checkout", "a@"), 2),
        (("exec", "none", "--", "true"), 3),
        (("exec", "proj", "--", "no-such-command"), 3),
        (("tag", "proj", "0123abcd"), 2),
        (("log", "none"), 3),
        (("log", "proj@none"), 3),
        (("cat", "proj:none"), 3),
        (("push", ".", "x\ny"), 2),
        (("log", "proj", "--store", "ftp://x"), 2),
        (("copy", "s3://", "proj", "x"), 2),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(machines, project, arguments, code):
    home, _ = machines
    home.casflow("push", project)
    out, err = home.casflow(*arguments, code=code, cwd=project)
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_names_and_tags_are_completed(machines, project):
    home, _ = machines
    home.casflow("push", project)
    home.casflow("tag", "proj@1", "prod")

    def completed(word):
        asked = {"_CASFLOW_COMPLETE": "bash_complete", "COMP_WORDS": f"casflow checkout {word}"}
        environment = {**os.environ, **home.environment, **asked, "COMP_CWORD": "2"}
        return home.casflow(environment=environment)[0]

    assert "proj" in completed("pr")
    assert "proj@prod" in completed("proj@p")


def test_json_is_one_document(machines, project):
    home, _ = machines
    home.casflow("push", project)
    for command in (("log", "proj"), ("tag", "proj", "prod"), ("tag", "proj"), ("push", project)):
        json.loads(home.casflow(*command, "--json")[0])
