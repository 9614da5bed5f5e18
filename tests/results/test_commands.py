"""`casflow results`: what runs wrote is listed, read with its digest, and removed by age."""

from __future__ import annotations

import shutil
import time
from datetime import timedelta
from pathlib import Path

import pytest

from casflow.blobs.base import ObjectInfo
from casflow.cli.results import _is_old
from casflow.results import PickleSerializer
from tests.home import Home

FLOW = """\
from casflow import Flow, task
from casflow.results import JSONSerializer, LocalResult

@task(checkpoint=True)
def numbers():
    return {1, 2}

@task(result=LocalResult(location="{task_name}.json", serializer=JSONSerializer()))
def words():
    return ["ä"]

@task
def plain():
    return "not asked for"

with Flow({name!r}) as flow:
    numbers(), words(), plain()
"""


@pytest.fixture(scope="module")
def _shared(tmp_path_factory):
    """Return the home in which an agent has run the flow once."""
    made = Home(tmp_path_factory.mktemp("ran") / "home")
    made.casflow("register", "-p", made.script("Writes", text=FLOW))
    made.casflow("runs", "create", "Writes")
    with made.start("agent", "start") as agent:
        deadline = time.monotonic() + 60
        while (ended := made.json("runs", "show", "1"))["state"] in ("Scheduled", "Running"):
            assert time.monotonic() < deadline, ended
        agent.terminate()
        agent.communicate(timeout=60)
    assert ended["state"] == "Success", ended
    return made


@pytest.fixture
def ran(_shared, tmp_path):
    """Return a copy of that home's results, put back after the test."""
    shutil.copytree(_shared.path / "results", tmp_path / "results")
    yield _shared
    shutil.rmtree(_shared.path / "results")
    shutil.copytree(tmp_path / "results", _shared.path / "results")


def test_the_record_of_a_run_says_where_values_are_and_their_digests(ran):
    recorded = ran.json("runs", "show", "1")["outcome"]["results"]
    assert sorted(recorded) == ["numbers-1", "words-1"]
    assert all(each["digest"].startswith("blake3:") for each in recorded.values())


def test_results_are_listed_with_who_wrote_them(ran):
    listed = ran.json("results", "ls")
    assert {(row["run"], row["flow"], row["task"]) for row in listed} == {
        (1, "Writes", "numbers-1"),
        (1, "Writes", "words-1"),
    }
    out, _ = ran.casflow("results", "ls")
    assert len(out.splitlines()) == 3
    assert len(ran.json("results", "show", "1")) == 2


def test_a_value_is_shown(ran):
    assert ran.casflow("results", "show", "1", "numbers-1")[0] == "{1, 2}\n"
    assert ran.json("results", "show", "1", "words-1")["value"] == ["ä"]
    _, err = ran.casflow("results", "show", "1", "plain-1", code=3)
    assert "it has numbers-1, words-1" in err


def test_a_value_that_others_put_there_is_not_read(ran):
    where = ran.json("results", "show", "1")[0]["location"]
    Path(where).write_bytes(PickleSerializer().serialize("theirs"))
    _, err = ran.casflow("results", "show", "1", "numbers-1", code=4)
    assert err.startswith("error: content does not match its digest")
    Path(where).unlink()
    ran.casflow("results", "show", "1", "numbers-1", code=3)


def test_old_results_are_removed_when_told_so(ran):
    def there():
        return [each for each in (ran.path / "results").rglob("*") if each.is_file()]

    for age, words, left in [
        ("30d", ["--yes"], 2),
        ("0s", [], 2),
        ("0s", ["--dry-run", "--yes"], 2),
        ("0s", ["--yes"], 0),
    ]:
        (own, _) = ran.json("results", "prune", "--keep-within", age, *words)["stores"]
        assert own["results"] == (0 if age == "30d" else 2)
        assert own["removed"] == (left == 0)
        assert len(there()) == left, (age, words)
    assert "Missing option" in ran.casflow("results", "prune", code=2)[1]


def test_age_is_held_against_the_time_that_is_asked_for():
    info = ObjectInfo("x.casflow_result", 1, 1000.0)
    assert _is_old(info, 1000.0 + 86401, timedelta(days=1))
    assert not _is_old(info, 1000.0 + 86399, timedelta(days=1))


def test_results_beside_flows_count_in_stats_and_only_they_are_removed(home, tmp_path):
    store = tmp_path / "store"
    text = f"from casflow.storage import Local\n{FLOW}"
    script = home.script(text=text.replace("{name!r}", f"'Beside', Local({str(store)!r})"))
    home.casflow("register", "-p", script)
    assert sorted(home.json("run", "Beside")["results"]) == ["numbers-1", "words-1"]
    (stats,) = [each for each in home.json("stats")["stores"] if str(store) in each["store"]]
    assert stats["results"]["count"] == 1
    before = sorted(each for each in store.rglob("*") if each.is_file())
    home.casflow("results", "prune", "--keep-within", "0s", "--yes")
    after = sorted(each for each in store.rglob("*") if each.is_file())
    assert [each.suffix for each in before if each not in after] == [".casflow_result"]
    home.casflow("verify")
