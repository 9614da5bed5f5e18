"""Trees from the command line: two machines, one store, as in CI and cron."""

from __future__ import annotations

import json
import os
import sys

import pytest

from casflow.blobs.content import ContentStore
from casflow.gc.roots import discard
from casflow.storage.urls import open_url
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


@pytest.mark.parametrize("how", [(), ("--as-script",)])
def test_tags_and_pins_of_flows(machines, tmp_path, how):
    home, _ = machines
    script, digests = tmp_path / "flow.py", []
    for number in (1, 2):
        script.write_text(f"from casflow import Flow, task\n@task\ndef t(): return {number}\n"
                          "with Flow('sales') as flow: t()\n")  # fmt: skip
        digests.append(home.json("register", "-p", script, *how)[0]["digest"])
    first, second = digests
    assert home.json("tag", "sales@1", "prod")["after"] == first
    assert home.json("tag", "sales", "prod")["before"] == first
    assert home.json("tag", "sales")["prod"]["digest"] == second
    moved = home.json("tag", "sales@1", "prod")  # the rollback
    assert (moved["counter"], moved["version"], moved["after"]) == (3, 1, first)
    assert [each["version"] for each in home.json("log", "sales@prod")] == [1, 2, 1]
    assert home.json("run", "sales@prod")["digest"] == first
    assert [each["version"] for each in home.json("show", "sales@prod")] == [1]
    for ref in ("sales@2", f"sales@{second[7:17]}", second[7:17]):
        assert home.json("show", ref)[0]["digest"] == second
        name = home.json("pin", ref)["pinned"]
        assert home.json("unpin", name)["digest"] == second
    assert home.json("pin", "sales@prod", "--as", "kept")["digest"] == first
    home.casflow("tag", "sales@3", "prod", code=3)
    home.casflow("show", "sales@3", code=3)
    home.casflow("pin", "sales@none", code=3)


def test_pins_and_the_trash_take_refs_of_trees(machines, project, tmp_path):
    home, _ = machines
    at = {"environment": {"CASFLOW_STORE": str(tmp_path / "own")}}
    digests = [home.json("push", project, **at)["digest"]]
    for number in (2, 3):
        write(project, {"etl/late.py": f"VALUE = {number}"})
        digests.append(home.json("push", project, **at)["digest"])
    planned = home.json("tag", "proj@2", "prod", "--dry-run", **at)
    assert (planned["dry_run"], planned["version"], planned["counter"]) == (True, 2, 1)
    assert home.casflow("tag", "proj@2", "prod", "--dry-run", **at)[0].startswith(
        "proj@prod: would be version 2"
    )
    assert home.json("tag", "proj", **at) == {}
    home.casflow("tag", "proj@2", "prod", **at)
    assert home.json("pin", "proj@1", "--as", "kept", "--dry-run", **at)["digest"] == digests[0]
    assert home.json("pin", **at) == []
    for ref, digest in (("proj@1", digests[0]), ("proj@prod", digests[1]), ("proj", digests[2]),
                        (digests[0][7:19], digests[0])):  # fmt: skip
        name = home.json("pin", ref, **at)["pinned"]
        assert not name.startswith(".")
        assert home.json("unpin", name, **at)["digest"] == digest
    store = ContentStore(open_url(str(tmp_path / "own")))
    for key in store.reference_keys("proj"):
        discard(store, key)
    home.casflow("undelete", "proj@4", code=3, **at)
    for ref, digest in (("proj@1", digests[0]), ("proj@prod", digests[1]),
                        (f"proj@{digests[2][7:19]}", digests[2])):  # fmt: skip
        assert home.json("undelete", ref, **at)["digest"] == digest
        assert home.json("checkout", f"proj@{digest}", **at)["digest"] == digest


def test_a_dry_copy_says_what_would_be_sent(machines, project, tmp_path):
    home, _ = machines
    home.casflow("push", project)
    copying = ("copy", home.path / "flows", "proj", tmp_path / "other")
    dry = home.json(*copying, "--dry-run")
    assert not (tmp_path / "other").exists()
    real = home.json(*copying)
    for key in ("name", "version", "digest", "status", "uploaded_bytes"):
        assert dry[key] == real[key]
    assert home.json(*copying, "--dry-run")["status"] == "unchanged"


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
        (("push", ".", ""), 2),
        (("push", ".", "x@y"), 2),
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
    for command in (
        ("log", "proj"),
        ("cat", "proj"),
        ("cat", "proj:etl/late.py"),
        ("tag", "proj", "prod"),
        ("tag", "proj"),
        ("push", project),
    ):
        json.loads(home.casflow(*command, "--json")[0])
