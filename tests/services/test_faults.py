"""The kill loops kill where they say, once for every effect, and what is left is what was done."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from casflow.blobs.local import LocalBlobStore
from casflow.errors import NotFoundError, UnavailableError
from casflow.testing.faults import OPERATIONS, FaultyStore
from tests.services.faults import file_kill_loop, kill_loop

if TYPE_CHECKING:
    from pathlib import Path

WRITE_AND_RENAME = """
import os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
(folder / "part").write_bytes(b"12345678")
os.replace(folder / "part", folder / "whole")
os.link(folder / "whole", folder / "twin")
(folder / "whole").unlink()
print("done")
"""

THREE_EFFECTS = """
import pathlib, sys
from casflow.blobs.local import LocalBlobStore
from casflow.testing.faults import FaultyStore
root, n, when = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
store = FaultyStore(LocalBlobStore(root), fail_at=n, when=when, action="kill")
store.create("a/one", b"1")
store.get("a/one")
store.put("a/two", b"2")
store.delete("a/one")
"""

TWO_ROWS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1] + "/rows.db")
connection.execute("CREATE TABLE IF NOT EXISTS rows (n)")
connection.execute("DELETE FROM rows")
connection.execute("INSERT INTO rows VALUES (1)")
connection.execute("INSERT INTO rows VALUES (2)")
connection.commit()
connection.close()
"""


def left(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, and empty it."""
    found = {each.name: each.read_bytes() for each in folder.iterdir()}
    for name in found:
        (folder / name).unlink()
    return found


def states(folder: Path, when: Any) -> list[dict[str, bytes]]:
    """Return what each run of the loop has left."""
    program = ["-c", WRITE_AND_RENAME, str(folder)]
    return [left(folder) for _ in file_kill_loop(folder, program, when)]


DATA = b"12345678"
OPENED: list[dict[str, bytes]] = [
    {},
    {"part": b""},
    {"part": DATA},
    {"whole": DATA},
    {"whole": DATA, "twin": DATA},
    {"twin": DATA},
]


def test_files_are_left_as_they_were_before_each_effect(tmp_path: Path) -> None:
    assert states(tmp_path, "before") == OPENED


def test_files_are_left_as_they_were_after_each_effect(tmp_path: Path) -> None:
    assert states(tmp_path, "after") == [*OPENED[1:], OPENED[-1]]


def test_a_torn_write_leaves_half(tmp_path: Path) -> None:
    assert states(tmp_path, "torn")[1] == {"part": b"1234"}


def test_effects_elsewhere_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    program = ["-c", WRITE_AND_RENAME, str(tmp_path / "there")]
    runs = list(file_kill_loop(tmp_path / "here", program, "before"))
    assert [(each.killed, each.stdout) for each in runs] == [(False, "done\n")]


def test_a_child_that_fails_by_itself_fails_the_loop(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        list(file_kill_loop(tmp_path, ["-c", "1/0"], "before"))


def test_a_database_is_killed_at_every_statement(tmp_path: Path) -> None:
    import sqlite3

    seen = []
    for _ in file_kill_loop(tmp_path, ["-c", TWO_ROWS, str(tmp_path)], "before"):
        connection = sqlite3.connect(tmp_path / "rows.db")
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        seen.append(connection.execute("SELECT n FROM rows").fetchall() if tables else None)
        connection.close()
    assert seen == [None, [], [], [], [], [(1,), (2,)]]


def test_a_store_kills_before_and_after_each_of_its_effects(tmp_path: Path) -> None:
    def keys(when: Any) -> list[list[str]]:
        found = []
        for _ in kill_loop(lambda n, when: command(n, when, tmp_path / when), when):
            store = LocalBlobStore(tmp_path / when)
            found.append([each.key for each in store.list()])
            for key in found[-1]:
                store.delete(key)
        return found

    def command(n: int, when: str, root: Path) -> list[str]:
        return [sys.executable, "-c", THREE_EFFECTS, str(root), str(n), when]

    assert keys("before") == [[], ["a/one"], ["a/one", "a/two"], ["a/two"]]
    assert keys("after") == [["a/one"], ["a/one", "a/two"], ["a/two"], ["a/two"]]


def test_a_store_raises_at_the_chosen_operation_alone(tmp_path: Path) -> None:
    store = FaultyStore(LocalBlobStore(tmp_path), fail_at=2, when="after")
    store.create("one", b"1")
    with pytest.raises(UnavailableError, match="put failed on purpose, after its effect"):
        store.put("two", b"2")
    assert store.get("two") == b"2"
    store.delete("two")
    with pytest.raises(NotFoundError):
        store.get("two")


@pytest.mark.parametrize("operation", ["get", "find", "list", "copy_to"])
def test_reads_can_fail_too(tmp_path: Path, operation: str) -> None:
    LocalBlobStore(tmp_path).put("one", b"1")
    store = FaultyStore(LocalBlobStore(tmp_path), fail_at=1, operations=OPERATIONS)
    arguments = [
        *(["one"] if operation != "list" else []),
        *([None] if operation == "copy_to" else []),
    ]
    with pytest.raises(UnavailableError):
        list(getattr(store, operation)(*arguments) or ())
