"""`casflow diff` and `casflow why` speak in the words of whoever wrote the flow."""

from __future__ import annotations

import json

import pytest

from casflow import Store
from casflow.errors import NotFoundError
from tests.cli.terminal import capture, run

FLOW = """\
from casflow import Flow, task

def square(x):
    y = x
    return y ** 7

@task(max_retries=2)
def transform(x, by=4):
    return square(x) ** 2

with Flow("Demo") as flow:
    transform(3)
"""


EDITED = FLOW.replace("** 2", "** 3").replace("** 7", "** 8").replace("by=4", "by=5")


@pytest.fixture
def two(home, monkeypatch):
    """A flow of two versions, whose script is as the second has it."""
    script = home.script(text=FLOW)
    monkeypatch.chdir(script.parent)
    run("register", script)
    home.script(text=EDITED)
    run("register", script, "-l", "gpu")
    return script


def test_a_terminal_shows_the_source_below_what_differs(two, monkeypatch, capsys):
    shown = capture(monkeypatch, ("diff", "Demo@1", "Demo@2"), 80).splitlines()
    assert shown[:2] == ["task transform: constant 2 -> 3", "task transform: default 4 -> 5"]
    assert shown[2] == "  flow.py, as in Demo@2:"
    assert shown[3] == "      7  @task(max_retries=2)"
    assert "      9      return square(x) ** 3" in shown
    assert "      3  def square(x):" in shown
    assert len([line for line in shown if "as in" in line]) == 2


def test_the_source_of_another_state_is_not_shown(two, monkeypatch):
    two.write_text(two.read_text() + "\n# edited since\n")
    shown = capture(monkeypatch, ("diff", "Demo@1", "Demo@2"), 80)
    assert "constant 2 -> 3" in shown
    assert "as in" not in shown
    assert "return" not in shown


def test_without_a_terminal_each_difference_is_a_line(two, monkeypatch):
    shown = capture(monkeypatch, ("diff", "Demo@1", "Demo@2"), None).splitlines()
    assert "task transform: constant 2 -> 3" in shown
    assert not any(line.startswith(" ") for line in shown)
    assert capture(monkeypatch, ("diff", "Demo", "Demo@2"), None) == "no difference\n"


def test_why_names_labels_and_content(two, monkeypatch, capsys):
    shown = capture(monkeypatch, ("why", "Demo"), None).splitlines()
    assert shown[0] == "Demo@2 has other content than Demo@1"
    assert "gpu" in next(line for line in shown if line.startswith("labels: "))
    assert "task transform: constant 2 -> 3" in shown
    assert capture(monkeypatch, ("why", "Demo@1"), None) == "Demo@1 is the first version\n"
    run("register", two, "-l", "gpu", "--force")
    shown = capture(monkeypatch, ("why", "Demo@3"), None)
    assert shown.startswith("Demo@3 has the same content as Demo@2\nit was asked for with --force")
    capsys.readouterr()
    run("why", "Demo@2", "--json")
    assert json.loads(capsys.readouterr().out)["before"] == 1
    with pytest.raises(NotFoundError):
        run("why", "Demo@9")


def test_scripts_are_compared_line_by_line(home, monkeypatch):
    script = home.script(text=FLOW)
    run("register", script, "--as-script")
    home.script(text=FLOW.replace("** 2", "** 3"))
    run("register", script, "--as-script")
    shown = capture(monkeypatch, ("diff", "Demo@1", "Demo@2"), 80).splitlines()
    assert "-    return square(x) ** 2" in shown
    assert "+    return square(x) ** 3" in shown


def test_trees_stand_side_by_side_on_a_terminal(home, monkeypatch, tmp_path):
    folder = tmp_path / "etl"
    folder.mkdir()
    for name, texts in {"same": "aa", "edited": "ab", "gone": "a", "new": " b"}.items():
        if texts[0] != " ":
            (folder / f"{name}.py").write_text(texts[0])
    Store().push(folder, "etl")
    (folder / "edited.py").write_text("b")
    (folder / "gone.py").unlink()
    (folder / "new.py").write_text("b")
    Store().push(folder, "etl")
    options = ("diff", "etl@1", "etl@2", "--store", str(home.path / "flows"))
    header, *rows = capture(monkeypatch, options, 80).splitlines()
    assert header.split() == ["file", "etl@1", "etl@2"]
    assert [row.split()[:2] for row in rows] == [
        ["M", "edited.py"],
        ["D", "gone.py"],
        ["A", "new.py"],
    ]
    digests = [row.split()[2:] for row in rows]
    assert [len(each) for each in digests] == [2, 1, 1]
    assert digests[0][1] == digests[2][0]
    plain = capture(monkeypatch, options, None).splitlines()
    assert plain == ["M\tedited.py", "D\tgone.py", "A\tnew.py"]
