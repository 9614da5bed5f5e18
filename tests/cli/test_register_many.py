"""`casflow register` registers all that it is told, or says which it did not."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from casflow.cli.register import register as command
from casflow.errors import CasflowError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CASFLOW_HOME", str(tmp_path / "home"))
    for name in "abc":
        here = tmp_path / "flows" / name
        here.mkdir(parents=True)
        (here / "helpers.py").write_text(f"MARK = {name!r}\n")
        text = f"import helpers\nfrom casflow import Flow\nflow = Flow('{name}-' + helpers.MARK)\n"
        (here / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path / "flows")
    return tmp_path / "flows"


def registered(*arguments):
    done = CliRunner().invoke(command, ["--json", *map(str, arguments)], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return [each["flow"] for each in json.loads(done.output)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-p", "a/a.py", "-p", "b/b.py"], ["a-a", "b-b"]),
        (["a/a.py"], ["a-a"]),
        (["a/a.py", "-p", "b/b.py", "c/c.py"], ["a-a", "c-c", "b-b"]),
        (["-p", "a"], ["a-a"]),
        (["a", "b"], ["a-a", "b-b"]),
        (["*/[ab].py"], ["a-a", "b-b"]),
        (["**/*.py"], ["a-a", "b-b", "c-c"]),
        (["a/a.py", "a/a.py", "a"], ["a-a"]),
        (["-p", "a/a.py", "-p", "b/b.py", "-n", "b-b"], ["b-b"]),
        (["-p", "a/a.py", "-p", "b/b.py", "-n", "b-b", "-n", "a-a"], ["a-a", "b-b"]),
    ],
)
def test_all_that_is_named_is_registered(folder, arguments, expected):
    assert sorted(registered(*arguments)) == sorted(expected)


def test_several_modules_are_registered(folder, monkeypatch):
    monkeypatch.chdir(folder / "a")
    (folder / "a" / "second.py").write_text("from casflow import Flow\nflow = Flow('second')\n")
    assert registered("-m", "a", "-m", "second:flow") == ["a-a", "second"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["a/helpers.py"], 3),
        (["a/a.py", "absent.py"], 3),
        (["a/a.py", "a/helpers.py"], 3),
        (["none/*.py"], 3),
        (["a/a.py", "b/b.py", "-n", "absent"], 3),
    ],
)
def test_what_cannot_be_registered_is_an_error(folder, arguments, code):
    with pytest.raises(CasflowError) as caught:
        registered(*arguments)
    assert caught.value.exit_code == code


def test_two_flows_of_one_name_in_two_scripts_are_refused(folder):
    (folder / "b" / "b.py").write_text("from casflow import Flow\nflow = Flow('a-a')\n")
    with pytest.raises(CasflowError, match="two flows are called 'a-a'"):
        registered("a/a.py", "b/b.py")
