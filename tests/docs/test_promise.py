"""What docs/stability.md promises: public names, options and JSON keys only ever come.

`uv run python -m tests.docs.public_api` records names and options, `APPROVE=1` before a run of this
file the keys of JSON documents.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from casflow import Store
from casflow.cli import casflow
from casflow.reference import FORMAT
from tests.docs import public_api

KEYS = Path(__file__).with_name("json_keys.txt")
RECORD = "run `uv run python -m tests.docs.public_api`, and tell users in docs/changelog.md"


def test_no_public_name_or_option_has_gone_or_changed():
    broken = public_api.broken(public_api.recorded(), public_api.lines())
    assert not broken, f"{broken}; {RECORD}"


@pytest.mark.parametrize(
    ("before", "now", "is_kept"),
    [
        ("f(a)", ["f(a)"], True),
        ("f(a)", ["f(a, b=…)"], True),
        ("f(a)", ["f(a, keyword b=…)"], True),
        ("f(a)", ["f(a, b)"], False),
        ("f(a, b=…)", ["f(a)"], False),
        ("f(a, b)", ["f(b, a)"], False),
        ("f(a=…)", ["f(a)"], False),
        ("f", ["g"], False),
        ("casflow ls --json", ["casflow ls", "casflow ls --json"], True),
    ],
)
def test_what_breaks_nobody_is_told_from_what_does(before, now, is_kept):
    assert (public_api.broken([before], now) == []) is is_kept


def test_names_that_stand_on_the_page_are_recorded():
    recorded = "\n".join(public_api.recorded())
    for name in ("casflow.Store.push(", "casflow.Flow(", "casflow register --json"):
        assert name in recorded


def test_references_are_of_format_1():
    assert FORMAT == 1


def keys_of(value, path=""):
    """Yield the paths of all keys of a document."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield f"{path}.{key}"
            yield from keys_of(each, f"{path}.{key}")
    elif isinstance(value, list):
        for each in value:
            yield from keys_of(each, f"{path}[]")


@pytest.fixture
def document(home, capsys):
    def read(*arguments):
        capsys.readouterr()
        words = [str(each) for each in arguments]
        casflow.main([*words, "--json"], "casflow", standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    return read


OPEN = (  # below these, keys are a user's own or those of a format of its own
    ".parameters.",
    ".storage.",
    ".environment.",
    ".expired.",
    ".kept.",
    ".explained.",
    ".growth.",
    ".extra.",
)


def documents(read, home, folder):
    """Yield the name and the document of each command."""
    script = home.script()
    yield "register", read("register", script, "-l", "linux")
    yield "ls", read("ls")
    yield "show", read("show", "Plain")
    yield "run", read("run", "Plain")
    yield "runs create", read("runs", "create", "Plain", "-P", "n=1")
    yield "runs ls", read("runs", "ls")
    yield "agent status", read("agent", "status")
    yield "cache ls", read("cache", "ls")
    yield "cache size", read("cache", "size")
    yield "config show", read("config", "show")
    yield "stats", read("stats")
    yield "verify", read("verify")
    yield "gc", read("gc", "--dry-run")
    yield "pin", read("pin", "Plain", "--as", "kept")
    yield "pins", read("pin")
    yield "push", read("push", folder)
    yield "tag", read("tag", "etl", "prod")
    yield "tags", read("tag", "etl")
    yield "log", read("log", "etl")
    yield "checkout", read("checkout", "etl", folder.with_name("out"))
    yield "status", read("status", folder.with_name("out"))
    yield "diff", read("diff", "Plain", "Plain")
    yield "doctor", read("doctor")


def test_no_key_of_a_json_document_has_gone(document, home, tmp_path):
    folder = tmp_path / "etl"
    folder.mkdir()
    (folder / "main.py").write_text("print(1)\n")
    Store()
    found = sorted(
        {
            f"{name}: {path}"
            for name, value in documents(document, home, folder)
            for path in keys_of(value)
            if not any(each in path for each in OPEN)
        }
    )
    if os.environ.get("APPROVE"):
        KEYS.write_text("\n".join(found) + "\n", encoding="utf-8")
    missing = sorted({*KEYS.read_text(encoding="utf-8").splitlines()} - {*found})
    assert not missing, f"{missing}; tell users in docs/changelog.md, and run this with APPROVE=1"
