"""Whatever is misspelt, the error names what was probably meant."""

from __future__ import annotations

import click
import pytest

from casflow import Store
from casflow.errors import CasflowError
from tests.cli.terminal import run

CASES = {
    "command": (("regster",), "'register'"),
    "command of a group": (("cache", "pruen"), "'prune'"),
    "option": (("gc", "--keep-lst", "1"), "--keep-last"),
    "flow to run": (("run", "Plian"), "'Plain'"),
    "flow to show": (("show", "plain"), "'Plain'"),
    "flow to compare": (("diff", "Plain", "Plan"), "'Plain'"),
    "flow to pin": (("pin", "Plan"), "'Plain'"),
    "pin": (("unpin", "audti"), "'audit'"),
    "tag": (("checkout", "etl@prd"), "'prod'"),
    "file of a tree": (("cat", "etl:mian.py"), "'main.py'"),
}


@pytest.fixture
def something(home, tmp_path):
    run("register", home.script())
    run("pin", "Plain", "--as", "audit")
    folder = tmp_path / "etl"
    folder.mkdir()
    (folder / "main.py").write_text("print(1)\n")
    Store().push(folder, "etl")
    Store().tag("etl", "prod")


@pytest.mark.parametrize("case", CASES)
def test_what_was_meant_is_named(something, case):
    arguments, meant = CASES[case]
    with pytest.raises((CasflowError, click.ClickException)) as caught:
        run(*arguments)
    said = getattr(caught.value, "format_message", lambda: str(caught.value))()
    assert "id you mean" in said
    assert meant in said


def test_a_misspelt_setting_is_told_the_right_one(home):
    home.path.mkdir(mode=0o700)
    (home.path / "config.toml").write_text('cache_limt = "1GB"')
    with pytest.raises(CasflowError, match="did you mean 'cache_limit'"):
        run("ls")


def test_a_name_without_tags_is_told_how_to_make_one(something, capsys):
    run("tag", "other")
    assert "casflow tag other@1 prod" in capsys.readouterr().err
