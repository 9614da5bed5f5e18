"""What casflow keeps is its user's alone, whichever command comes first and whatever the umask."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from casflow import config

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = {
    "register": lambda home: home.casflow("register", "-p", home.script()),
    "ls": lambda home: home.casflow("ls"),
    "cache": lambda home: home.casflow("cache", "ls"),
    "gc": lambda home: home.casflow("gc", "--yes"),
}


def _wide(folder: Path) -> list[str]:
    found = [folder, *folder.rglob("*")]
    private = [each for each in found if each.is_dir() or each.name.startswith("registry.db")]
    modes = {each: stat.S_IMODE(each.lstat().st_mode) for each in private}
    return [
        f"{each} {mode:o}"
        for each, mode in modes.items()
        if mode & 0o077 and folder in (each, each.parent)
    ]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_home_is_its_user_s_alone(home, command, umask):
    before = os.umask(umask)
    try:
        if umask == 0o777 and command == "register":
            os.umask(0o077)  # a store that its own user cannot read is the user's wish
        COMMANDS[command](home)
    finally:
        os.umask(before)
    if home.path.exists():
        assert _wide(home.path) == []
        assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_a_home_that_others_can_read_is_warned_of(home):
    home.casflow("ls")
    assert "other users" not in home.casflow("ls")[1]
    home.path.chmod(0o755)
    _, err = home.casflow("ls")
    assert err.count("other users can get at") == 1
    assert f"chmod -R go= {home.path}" in err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="root gives folders away")
def test_a_home_of_another_user_is_refused_and_one_of_root_is_not(home, monkeypatch):
    home.casflow("ls")
    assert config.load().home == home.path
    monkeypatch.setattr(os, "geteuid", lambda: 64101)
    monkeypatch.setenv("CASFLOW_STORE", "another")  # so that the settings are read anew
    assert config.load().home == home.path
    monkeypatch.undo()
    os.chown(home.path, 64101, 64101)
    _, err = home.casflow("ls", code=6)
    assert "this home is another user's" in err
    assert "CASFLOW_HOME" in err
