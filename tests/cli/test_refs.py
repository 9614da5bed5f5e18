"""What a table shows is taken back by every command: one syntax of refs, digests of 12 digits."""

from __future__ import annotations

import json

import pytest

from casflow import Store
from casflow.cli import casflow
from casflow.errors import NotFoundError

FLOW = """
from casflow import Flow, task

@task
def number():
    return NUMBER

with Flow("Numbers") as flow:
    number()
"""


class InProcess:
    """The command line, run in this process."""

    def __init__(self, capsys):
        self._capsys = capsys

    def casflow(self, *arguments):
        """Run a command and return what it printed and complained."""
        self._capsys.readouterr()
        casflow.main([str(each) for each in arguments], "casflow", standalone_mode=False)
        return self._capsys.readouterr()

    def json(self, *arguments):
        return json.loads(self.casflow(*arguments, "--json")[0])


@pytest.fixture
def cli(home, capsys):
    return InProcess(capsys)


@pytest.fixture
def three(home, cli, tmp_path):
    """A flow of three versions, and a project of two."""
    for number in range(3):
        cli.casflow("register", home.script(text=FLOW.replace("NUMBER", str(number))))
    folder = tmp_path / "etl"
    folder.mkdir()
    for number in range(2):
        (folder / "main.py").write_text(f"print({number})\n")
        Store().push(folder, "etl")
    return cli


def shown(home, version):
    """Return the digest of a version as `casflow show` has it in its table."""
    lines = home.casflow("show", "Numbers")[0].splitlines()
    (row,) = [line.split() for line in lines if line.split()[:1] == [str(version)]]
    return row[1]


def refs(home):
    """Return every way to name version 2 of the flow."""
    digest = home.json("show", "Numbers")[1]["digest"]
    digits = shown(home, 2)
    assert len(digits) == 12
    return ("Numbers@2", f"Numbers@{digits}", digits, f"blake3:{digits}", digest, digits[:8])


def test_run_show_and_create_take_each_ref(three):
    for ref in refs(three):
        assert three.json("run", ref)["version"] == 2, ref
        assert [each["version"] for each in three.json("show", ref)] == [2], ref
        assert three.json("runs", "create", ref)["version"] == 2, ref
    assert three.json("run", "Numbers", "--digest", shown(three, 2))["version"] == 2
    assert len(three.json("show", "Numbers")) == 3


def test_pin_and_undelete_take_each_ref(three):
    for number, ref in enumerate(refs(three)):
        digest = three.json("show", "Numbers")[1]["digest"]
        assert three.json("pin", ref, "--as", f"p{number}")["digest"] == digest, ref
        three.casflow("unpin", f"p{number}")
    for ref in refs(three)[:4]:
        three.casflow("gc", "--keep-last", "1", "--yes")
        assert three.json("undelete", ref)["digest"] == digest, ref


def test_pin_takes_a_project_by_its_version_and_its_tag(three):
    Store().tag("etl@1", "prod")
    first = Store().resolve("etl@1").digest
    assert three.json("pin", "etl@1", "--as", "a")["digest"] == first
    assert three.json("pin", "etl@prod", "--as", "b")["digest"] == first
    assert three.json("pin", "etl", "--as", "c")["digest"] != first


def test_diff_takes_what_show_shows(three):
    out, _ = three.casflow("diff", shown(three, 1), shown(three, 3))
    assert "0 -> 2" in out


def test_a_short_digest_that_is_none_is_named(three):
    for command in (
        ("run", "Numbers", "--digest", "0" * 12),
        ("show", "0" * 12),
        ("pin", "Numbers@9"),
        ("undelete", "Numbers@1"),
    ):
        with pytest.raises(NotFoundError, match="no"):
            three.casflow(*command)


def test_old_names_of_options_still_work_and_say_the_new_ones(three):
    _, err = three.casflow("cache", "prune", "--limit", "5GB")
    assert "--limit is now called --max-size" in err
    _, err = three.casflow("agent", "start", "--once", "--limit", "2", "--no-hostname-label")
    assert "--limit is now called --concurrency" in err


def test_nothing_to_do_is_said_with_what_to_do(home, cli):
    cli.casflow("register", home.script())
    assert "casflow pin NAME@VERSION" in cli.casflow("pin")[1]
    assert "the trash is empty" in cli.casflow("undelete")[1]
    out, err = cli.casflow("gc")
    assert "nothing to collect" in out
    assert "--yes" not in out + err
    assert "1 reference," in out
