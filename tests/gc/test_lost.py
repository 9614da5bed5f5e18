"""What was once lost, or could not be healed, by the commands that people type."""

from __future__ import annotations

import os
import shutil
import time
from datetime import UTC, datetime, timedelta

import pytest

TEXT = """\
from casflow import Flow, task

@task
def version():
    return {number}

with Flow("etl") as flow:
    version()
"""


def register(home, number, *more, code=0):
    script = home.script(text=TEXT.replace("{number}", str(number)))
    return home.casflow("register", "-p", script, *more, code=code)


def test_keep_last_counts_each_project_by_itself(home):
    for project in ("prod", "dev"):
        for number in range(3):
            register(home, f"'{project}{number}'", "--project", project)
    home.casflow("gc", "--keep-last", "3", "--grace", "0s", "--exclusive", "--yes")
    assert len(home.references()) == 6
    for project in ("prod", "dev"):
        for number in (1, 2, 3):
            home.casflow("run", "etl", "--project", project, "--version", str(number))
    home.casflow("gc", "--keep-last", "1", "--exclusive", "--yes")
    assert len(home.references()) == 2
    for project in ("prod", "dev"):
        home.casflow("run", "etl", "--project", project)


def test_one_reference_far_in_the_future_expires_nobody(home):
    for number in range(3):
        register(home, number)
    kept = home.references()
    future = (datetime.now(UTC) + timedelta(days=400)).strftime("%Y-%m-%dt%H-%M-%S-000000-00-00")
    shutil.copy(kept[-1], kept[-1].with_name(future))
    home.casflow("gc", "--keep-within", "30d", "--yes")
    assert set(kept) <= set(home.references())


def test_verify_is_not_whole_while_versions_of_the_registry_cannot_run(home):
    register(home, 1)
    for path in (home.path / "flows").iterdir():
        if path.name != ".casflow":
            shutil.rmtree(path)
    for path in (home.path / "flows" / ".casflow").iterdir():
        if path.name != "format":
            shutil.rmtree(path)
    out, err = home.casflow("verify", code=4)
    assert "etl" in out + err
    register(home, 1)
    home.casflow("verify")
    home.casflow("cache", "clean")
    home.casflow("run", "etl")


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "gone"])
def test_registering_the_source_again_heals_a_damaged_blob(home, damage):
    register(home, 1)
    (blob,) = [path for path in home.path.glob("flows/.casflow/blobs/??/*") if _is_pickle(path)]
    data = blob.read_bytes()
    blob.chmod(0o644)
    if damage == "gone":
        blob.unlink()
    else:
        changed = {"flipped": data[:-2] + b"?" + data[-1:], "cut": data[:-9], "empty": b""}
        blob.write_bytes(changed[damage])
    shutil.rmtree(home.path / "cache", ignore_errors=True)
    home.casflow("run", "etl", code=4)
    home.casflow("verify", code=4)
    register(home, 1)
    home.casflow("run", "etl")
    home.casflow("gc", "--yes")


def test_a_reference_that_names_nothing_blocks_nobody_and_goes_when_it_is_old(home):
    register(home, 1)
    (reference,) = home.references()
    text = reference.read_text()
    digest = text[text.index("blake3:") :][7:71]
    stalled = reference.with_name("2020-01-01t00-00-00-000000-00-00")
    stalled.write_text(text.replace(digest, "0" * 64))
    old = time.time() - 7200
    os.utime(stalled, (old, old))
    register(home, 2)
    home.casflow("gc", "--yes")
    out, err = home.casflow("verify", code=4)
    assert "000000" in out + err
    home.casflow("run", "etl")


def _is_pickle(path):
    return path.read_bytes()[:1] == b"\x80"
