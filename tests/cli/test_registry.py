"""`casflow registry check`: damaged rows are named, and stop no command about other flows."""

from __future__ import annotations

import sqlite3

from casflow.cli.stores import known


def test_a_damaged_row_stops_nothing_else_and_what_it_names_is_kept(home):
    home.casflow("register", "-p", home.script("sound"))
    home.casflow("register", "-p", home.script("bad", file="bad.py"))
    bad = home.json("show", "bad")
    with sqlite3.connect(home.path / "registry.db") as connection:
        connection.execute("UPDATE casflow_versions SET storage = '{' WHERE id = 2")
    connection.close()
    assert [each["flow"] for each in home.json("ls")] == ["sound"]
    home.casflow("run", "sound")
    home.casflow("gc")
    version = bad["versions"][0] if isinstance(bad, dict) else bad[0]
    assert version["digest"] in known().digests
    assert version["location"] in known().keys
    (found,) = home.json("registry", "check", code=4)
    assert (found["kind"], found["id"]) == ("version", 2)
    assert "casflow registry check" in home.casflow("run", "bad", code=4)[1]
    home.casflow("registry", "check", "--quarantine")
    home.casflow("registry", "check")
    assert version["digest"] in known().digests
    assert home.json("register", "-p", home.script("bad", file="bad.py"))[0]["version"] == 2
