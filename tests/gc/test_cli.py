"""`casflow gc`, `pin`, `unpin`, `undelete`, `verify` and `stats`, as a user runs them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from casflow import cache, config
from casflow.cli import main
from casflow.digests import digest_of
from casflow.registry import Registry, RunState

SCRIPT = """\
from casflow import Flow, task

@task
def answer():
    return {number}

with Flow({name!r}) as flow:
    answer()
"""


@pytest.fixture
def casflow(home, capsys):
    """Return what runs casflow in this process: its exit code, its output and its complaints."""

    def run(*arguments, code=0):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        out, err = capsys.readouterr()
        assert ended.value.code == code, out + err
        return out, err

    run.home = home
    run.json = lambda *arguments, **options: json.loads(run(*arguments, "--json", **options)[0])
    return run


def register(casflow, *numbers, name="Plain", project=None):
    for number in numbers:
        text = SCRIPT.replace("{number}", str(number))
        path = casflow.home.script(name, text=text, file=f"{name}{number}.py")
        options = [] if project is None else ["--project", project]
        casflow("register", "-p", path, *options)


def flows_dir(casflow):
    return casflow.home.path / "flows"


def files(casflow):
    paths = flows_dir(casflow).rglob("*")
    return {path: path.read_bytes() for path in paths if path.is_file()}


def test_without_yes_and_without_a_terminal_it_only_reports(casflow):
    register(casflow, 1, 2, 3)
    before = files(casflow)
    out, err = casflow("gc", "--keep-last", 1)
    assert "would be moved to the trash" in out
    assert "--yes" in err
    assert files(casflow) == before


def test_what_is_reported_is_what_is_done(casflow):
    register(casflow, 1, 2, 3)
    (planned,) = casflow.json("gc", "--keep-last", 1, "--dry-run", "--yes")["stores"]
    (done,) = casflow.json("gc", "--keep-last", 1, "--yes")["stores"]
    assert (planned["dry_run"], done["dry_run"]) == (True, False)
    times = ("run", "dry_run", "started", "until")
    assert {**planned, **{each: done[each] for each in times}} == done
    assert len(done["expired"]["Plain"]) == 2
    assert len(casflow.home.references()) == 1


def test_the_policy_of_the_settings_counts_until_the_command_line_says_otherwise(
    casflow, monkeypatch
):
    register(casflow, 1, 2, 3)
    monkeypatch.setenv("CASFLOW_RETENTION", "last=1")
    (by_settings,) = casflow.json("gc")["stores"]
    (by_command,) = casflow.json("gc", "--keep-last", 2)["stores"]
    assert len(by_settings["expired"]["Plain"]) == 2
    assert len(by_command["expired"]["Plain"]) == 1


def test_the_current_version_of_every_project_and_of_every_waiting_run_is_kept(casflow):
    register(casflow, 1, project="old")
    register(casflow, 2, 3, 4, project="new")
    casflow("runs", "create", "Plain", "--project", "new", "--version", 1)
    (done,) = casflow.json("gc", "--keep-last", 1, "--yes")["stores"]
    assert len(done["expired"]["Plain"]) == 1
    with Registry(config.load().registry) as registry:
        kept = {path.name for path in casflow.home.references()}
        (run,) = registry.runs()
        named = [registry.get_version("old", "Plain"), registry.get_version("new", "Plain")]
        named.append(registry.get_version("new", "Plain", run.version))
    assert {each.location.rpartition("/")[2] for each in named} == kept


def test_flows_of_another_registry_do_not_expire(casflow, monkeypatch):
    register(casflow, 1, 2)
    monkeypatch.setenv("CASFLOW_REGISTRY", f"sqlite:///{casflow.home.path}/other.db")
    arguments = ("gc", "--keep-last", 1, flows_dir(casflow))
    out, err = casflow(*arguments)
    assert "moved" not in out
    assert "--all-flows" in err
    (report,) = casflow.json(*arguments, "--all-flows")["stores"]
    assert len(report["expired"]["Plain"]) == 1


def test_everything_goes_at_once_when_nobody_writes(casflow):
    register(casflow, 1, 2)
    now = ("gc", "--exclusive", "--trash", "0h", "--yes")
    casflow(*now, "--keep-last", 1)
    (report,) = casflow.json(*now)["stores"]
    assert report["deleted"]["blobs"] > 0
    assert casflow.json("verify")["clean"]
    assert casflow.json("run", "Plain")["state"] == "Success"
    history = casflow.json("gc", "--history")
    assert [each["dry_run"] for each in history[str(flows_dir(casflow))]] == [False, False]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--grace", "1h"),
        ("--grace", "soon"),
        ("--keep-within", "x"),
        ("--trash", "-1d"),
        ("s3://",),
        ("ftp://host",),
        ("s3://user:secret@bucket",),
    ],
)
def test_a_bad_request_is_one_line(casflow, arguments):
    _, err = casflow("gc", *arguments, code=2)
    assert err.count("\n") == 1
    assert "secret" not in err


def test_a_folder_that_is_no_store_is_said_so(casflow, tmp_path):
    _, err = casflow("gc", tmp_path / "nowhere", code=3)
    assert "no store" in err


def test_a_pin_is_made_listed_and_removed(casflow):
    register(casflow, 1, 2)
    assert casflow.json("pin", "Plain", "--as", "release")["pinned"] == "release"
    assert [each["name"] for each in casflow.json("pin")] == ["release"]
    casflow("unpin", "release")
    assert casflow.json("pin") == []
    casflow("unpin", "release", code=3)
    casflow("pin", "Nothing", code=3)


def test_a_version_comes_back_from_the_trash(casflow):
    register(casflow, 1, 2)
    before = casflow.home.references()
    casflow("gc", "--keep-last", 1, "--yes")
    assert len(casflow.json("undelete")) == 1
    casflow("undelete", "Plain")
    assert len(casflow.home.references()) == len(before) == 2
    casflow("run", "Plain", "--version", 1)
    casflow("undelete", "Plain")
    assert len(casflow.home.references()) == 2, "twice is once"


def test_a_fresh_home_is_whole(casflow):
    assert casflow.json("verify")["clean"]
    assert "whole" in casflow("verify")[0]


def test_what_is_wrong_is_one_line_each_and_exit_code_4(casflow):
    register(casflow, 1)
    (blob, *_) = sorted(flows_dir(casflow).glob(".casflow/blobs/??/*"))
    blob.write_bytes(b"x" * blob.stat().st_size)
    out, _ = casflow("verify", code=4)
    assert [line.split()[0] for line in out.splitlines()[:-1]] == ["damaged"]
    assert casflow.json("verify", "--no-read-data")["clean"]
    blob.unlink()
    assert not casflow.json("verify", code=4)["clean"]


def test_the_cache_repairs_the_store(casflow):
    register(casflow, 1)
    casflow("run", "Plain")
    for blob in flows_dir(casflow).glob(".casflow/blobs/??/*"):
        blob.unlink()
    casflow("verify", code=4)
    assert "repaired" in casflow("verify", "--repair")[0]
    assert casflow.json("verify")["clean"]


@pytest.mark.parametrize("share", ["5", "x", "-1%", "200%"])
def test_a_share_is_a_percentage(casflow, share):
    casflow("verify", "--sample", share, code=2)


def test_stats_count_what_is_stored_once(casflow):
    register(casflow, 1, project="a")
    register(casflow, 1, 2, project="b")
    (counted,) = casflow.json("stats")["stores"]
    assert counted["flows"] == 1
    assert counted["stored"]["blobs"] == len(casflow.home.blobs())
    assert counted["logical_bytes"] >= counted["stored"]["bytes"]
    assert sum(counted["growth"].values()) == counted["stored"]["bytes"]
    assert "dedup factor" in casflow("stats")[0]


def test_stats_draw_what_each_month_has_added(casflow):
    register(casflow, 1)
    out, _ = casflow("stats")
    (line,) = (each for each in out.splitlines() if "█" in each)
    assert line.split()[0] == datetime.now(UTC).strftime("%Y-%m")
    assert line.count("█") == 40


def test_stats_tell_how_often_the_cache_had_it(casflow):
    register(casflow, 1)
    assert casflow.json("stats")["cache"]["hit_rate"] is None
    assert "no run" in casflow("stats")[0]
    for outcome in ("miss", "hit", "hit", "hit"):
        casflow("runs", "create", "Plain")
        with Registry(config.load().registry) as registry:
            labels = registry.runs()[0].labels
            agent = registry.add_agent(name="agent", host="here", pid=1, labels=labels)
            (held,) = registry.claim(agent)
            registry.finish(held, RunState.SUCCESS, outcome={"cache": outcome})
    counted = casflow.json("stats")["cache"]
    assert (counted["hits"], counted["misses"], counted["hit_rate"]) == (3, 1, 0.75)
    assert "75% of the latest 4 runs hit" in casflow("stats")[0]


def test_the_cache_is_pruned_on_request_only(casflow, monkeypatch):
    kept = cache.default()
    for number in range(20):
        data = b"%d" % number * 10_000
        kept.put(digest_of(data), data)
    monkeypatch.setenv("CASFLOW_CACHE_LIMIT", "100kB")
    asked = casflow.json("gc", "--cache")
    assert (asked["freed_bytes"], asked["over"]) == (0, kept.size() - 90_000)
    assert casflow.json("gc", "--cache", "--dry-run", "--yes")["freed_bytes"] == 0
    assert casflow.json("gc", "--cache", "--yes")["freed_bytes"] >= asked["over"]
    assert kept.size() <= 90_000
    assert "of 100.0 kB" in casflow("gc", "--cache")[0]


def test_the_history_is_a_line_for_each_run(casflow):
    register(casflow, 1, 2)
    casflow("gc", "--keep-last", 1, "--yes")
    casflow("gc", "--exclusive", "--trash", "0h", "--yes")
    out, _ = casflow("gc", "--history")
    first, last = out.rstrip().splitlines()[-2:]
    assert out.startswith(str(flows_dir(casflow)))
    assert first.split()[1:5] == ["2", "1", "0", "0"]
    assert last.split()[1:3] == ["2", "0"]
    assert int(last.split()[4]) > 0
    assert casflow.json("gc", "--history", flows_dir(casflow)).keys() == {str(flows_dir(casflow))}


def spoil(casflow, what):
    """Make a store one that no run may touch."""
    (reference, *_) = casflow.home.references()
    if what == "unreadable":
        reference.write_text("not JSON")
    elif what == "no reference":
        for each in casflow.home.references():
            each.unlink()
    else:  # what version 1 needs
        digest = json.loads(reference.read_text())["digest"]
        (blob,) = flows_dir(casflow).glob(f".casflow/blobs/??/{digest.partition(':')[2]}*")
        blob.unlink()


def test_a_store_without_references_is_one_line_and_nothing_is_deleted(casflow):
    register(casflow, 1, 2)
    spoil(casflow, "no reference")
    before = files(casflow)
    _, err = casflow("gc", "--exclusive", "--all-flows", "--yes", code=2)
    assert err.count("\n") == 1
    after = files(casflow)
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize("what", ["unreadable", "missing"])
def test_damage_is_named_with_its_remedy_and_the_rest_goes_on(casflow, what):
    register(casflow, 1, 2, 3)
    spoil(casflow, what)
    _, err = casflow("gc", "--keep-last", 1, "--yes")
    assert "casflow verify --repair" in err
    casflow("verify", "--repair")
    assert casflow.json("verify")["clean"]
    assert "repair" not in casflow("gc", "--yes")[1]


def test_a_sample_is_read_back_and_repaired(casflow):
    register(casflow, 1)
    casflow("run", "Plain")
    for blob in flows_dir(casflow).glob(".casflow/blobs/??/*"):
        blob.write_bytes(b"x" * blob.stat().st_size)
    (none,) = casflow.json("verify", "--sample", "0%")["stores"]
    assert (none["read"]["blobs"], none["findings"]) == (0, [])
    casflow("verify", "--sample", "100%", code=4)
    (mended,) = casflow.json("verify", "--sample", "100%", "--repair")["stores"]
    assert {each["repaired"] for each in mended["findings"]} == {True}
    assert casflow.json("verify")["clean"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b"[" * 100_000, b"\xff"])
def test_a_damaged_report_of_a_run_is_left_out_of_the_history(casflow, damage):
    register(casflow, 1)
    casflow("gc", "--yes")
    (report,) = (flows_dir(casflow) / ".casflow" / "gc" / "runs").glob("*.json")
    report.chmod(0o644)
    report.write_bytes(damage)
    assert casflow.json("gc", "--history") == {str(flows_dir(casflow)): []}
