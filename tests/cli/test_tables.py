"""What every command that prints a table shows on terminals of 40 to 120 columns, and without one.

The approved texts are in `approved/`; `APPROVE=1 uv run pytest tests/cli/test_tables.py` writes
them anew, and a person reads the difference. What varies from run to run (digests, keys, times,
paths) is made the same before it is laid out.
"""

from __future__ import annotations

import base64
import getpass
import os
import re
import socket
import sqlite3
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from casflow import Store, config
from casflow.cli import COMMANDS as COMMAND_GROUPS
from casflow.cli import table
from casflow.registry import Registry, RunState
from tests.cli.terminal import capture, run

APPROVED = Path(__file__).with_name("approved")
WIDTHS = (40, 60, 80, 120)
DIGEST = "blake3:4e244001f3ab" + "0" * 52
KEY = re.compile(r"\d{4}-\d\d-\d\dt\d\d-\d\d-\d\d-\d{6}-00-00")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+\d:]*")
UUID = "b6350530-1cc6-4d63-88f5-cbccb3a6afc1"
COMMANDS = {
    "ls": ("ls",),
    "show": ("show", "Quarterly orders"),
    "runs ls": ("runs", "ls"),
    "agent ls": ("agent", "ls"),
    "agent status": ("agent", "status"),
    "agent limit": ("agent", "limit"),
    "cache ls": ("cache", "ls"),
    "config show": ("config", "show"),
    "registry check": ("registry", "check"),
    "pin": ("pin",),
    "gc": ("gc", "--dry-run", "--keep-last", "1"),
    "gc explain": ("gc", "--dry-run", "--keep-last", "1", "--explain"),
    "undelete": ("undelete",),
    "gc history": ("gc", "--history"),
    "tag": ("tag", "etl"),
    "log": ("log", "etl"),
    "log of a tag": ("log", "etl@prod"),
    "results ls": ("results", "ls"),
    "results show": ("results", "show", "1"),
    "trust ls": ("trust", "ls"),
    "diff of trees": ("diff", "etl@1", "etl@2", "--store", "flows"),
}
FLOW = """
from casflow import Flow, task

@task
def extract():
    return NUMBER

with Flow("Quarterly orders") as flow:
    extract()
"""


@pytest.fixture
def full(home, monkeypatch, tmp_path):
    """A home with some of everything that a table can show."""
    monkeypatch.setenv("CASFLOW_DEFAULT_LABELS", "0")
    for number in range(3):
        script = home.script(text=FLOW.replace("NUMBER", str(number)))
        run("register", script, "-l", "gpu", "-l", "linux")
    run("run", "Quarterly orders")
    run("pin", "Quarterly orders", "--as", "audit-2026")
    folder = tmp_path / "etl"
    folder.mkdir()
    for number in range(2):
        (folder / "main.py").write_text(f"print({number})\n")
        Store().push(folder, "etl")
        Store().tag("etl", "prod")
    monkeypatch.setenv("CASFLOW_CHECKPOINTING", "1")
    home.casflow("runs", "create", "Quarterly orders", environment=ASKED)
    home.casflow("agent", "start", "--once", *AGENT, environment=ASKED)
    monkeypatch.delenv("CASFLOW_CHECKPOINTING")
    (tmp_path / "key.pub").write_text(public_key())
    run("trust", "add", tmp_path / "key.pub", "--as", "me@example.org")
    monkeypatch.chdir(home.path)
    with Registry(config.load().registry) as registry:
        add_runs(registry)
        registry.limit_label("gpu", 2)
        damage(registry)
    monkeypatch.setattr(table, "_cell", same(table._cell, str(home.path)))
    return home


ASKED = {"CASFLOW_CHECKPOINTING": "1", "CASFLOW_DEFAULT_LABELS": "0"}
AGENT = ("--no-hostname-label", "-l", "gpu", "-l", "linux")


def public_key():
    """Return the line of a public key of SSH."""
    parts = (b"ssh-ed25519", bytes(range(32)))
    blob = b"".join(struct.pack(">I", len(each)) + each for each in parts)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} me@example.org\n"


def add_runs(registry):
    version = registry.get_version(None, "Quarterly orders")
    agent = registry.add_agent(name="first", host="worker-1", pid=17, labels=["gpu", "linux"])
    registry.create_run(version)
    registry.claim(agent)
    message = "ValueError: the sum of the orders is not what the ledger says it should be, by far"
    (held,) = registry.runs(state=RunState.RUNNING)
    registry.finish(held, RunState.FAILED, message=message)
    registry.create_run(version, scheduled=datetime.now(UTC) + timedelta(hours=3))


def damage(registry):
    """Register a version and make its row one that cannot be read."""
    version = registry.get_version(None, "Quarterly orders")
    registry.add_version(
        project=None,
        flow="Broken",
        digest=version.digest,
        storage=version.storage,
        reference=None,
        labels=[],
        location="broken/2026",
    )
    path = config.load().registry.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE casflow_versions SET storage = '[]' WHERE location LIKE 'bro%'")
    connection.close()


def same(cell, home):
    """Return what lays out a cell with the same text in every run."""
    names = names_of(home)

    def stable(value, digests, *, iso):
        if isinstance(value, datetime):
            return "2026-01-31T16:59:03+00:00" if iso else "3 min ago"
        if isinstance(value, str) and value in digests:
            return "4e244001f3ab"
        return normal(cell(value, digests, iso=iso), names)

    return stable


def names_of(home):
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    return {home: "/home/me/.casflow", who: "me@laptop", socket.gethostname(): "laptop"}


def normal(text, names):
    for name, stable in names.items():
        text = text.replace(name, stable)
    text = re.sub(r"\b\d+ B\b|\b\d+\.\d k?B\b", "1.2 kB", text)
    text = re.sub(r"\b\d s$", "3 s", text, flags=re.MULTILINE)
    text = re.sub(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", UUID, text)
    text = re.sub(r"results/\d{4}/\d\d/\d\d", "results/2026/01/31", text)
    text = KEY.sub("2026-01-31t16-59-03-123456-00-00", text)
    return MOMENT.sub("2026-01-31T16:59:03+00:00", text)


@pytest.fixture
def captures(full, monkeypatch):
    def capture_all(arguments):
        names = names_of(str(full.path))
        parts = []
        for width in (*WIDTHS, None):
            title = "no terminal" if width is None else f"{width} columns"
            text = normal(capture(monkeypatch, arguments, width), names)
            text = re.sub(r"\b[0-9a-f]{64}\b", DIGEST[7:], text)
            parts.append(f"== {title}\n{text}")
        return "\n".join(parts)

    return capture_all


def test_tables_are_as_approved(captures, full):
    changed = []
    for name, arguments in COMMANDS.items():
        if name == "undelete":
            run("gc", "--keep-last", "1", "--yes")
        path = APPROVED / f"{name.replace(' ', '-')}.txt"
        text = captures(arguments)
        if os.environ.get("APPROVE"):
            path.write_text(text)
        elif path.read_text() != text:
            changed.append(f"{name}:\n{text}")
    assert not changed, "\n".join(changed)


def width_of(text, title):
    """Return the longest line of a capture's tables."""
    part = text.partition(f"== {title}\n")[2].partition("\n== ")[0]
    return max(map(len, part.splitlines()))


@pytest.mark.parametrize("name", ["ls", "runs ls", "agent ls", "cache ls", "config show", "pin"])
def test_from_60_columns_on_a_row_is_a_line_that_fits(name):
    text = (APPROVED / f"{name.replace(' ', '-')}.txt").read_text()
    for width in WIDTHS[1:]:
        assert width_of(text, f"{width} columns") <= width


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (86_400, "1 day ago"),
        (86_400 * 59, "59 days ago"),
        (86_400 * 60, "2 months ago"),
        (86_400 * 800, "2 years ago"),
        (-7200, "in 2 h"),
    ],
)
def test_times_are_said_as_people_say_them(seconds, words):
    now = datetime(2026, 1, 31, tzinfo=UTC)
    assert table.ago(now - timedelta(seconds=seconds), now) == words


def test_digests_are_as_long_as_it_takes_to_tell_them_apart():
    alike = ["blake3:" + "a" * 20 + "b" * 44, "blake3:" + "a" * 64, "blake3:" + "c" * 64]
    assert set(table.shorten(alike[1:]).values()) == {"a" * 12, "c" * 12}
    shown = table.shorten(alike)
    assert len(set(shown.values())) == 3
    assert all(each.startswith("blake3:" + shown[each]) for each in alike)


def test_iso_shows_the_moment(full, monkeypatch):
    assert "2026-01-31T16:59:03" in capture(monkeypatch, ("ls", "--iso"), 120)
    assert "2026-01-31T16:59:03" not in capture(monkeypatch, ("ls",), 120)


def test_help_fits_a_screen_and_names_every_command(capsys):
    run("--help")
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 30
    assert max(map(len, text.splitlines())) <= 80
    for group in COMMAND_GROUPS.values():
        for name in group:
            assert re.search(rf"\b{name}\b", text), name
