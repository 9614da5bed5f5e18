"""What a host of scripts may send: so many bytes, of the form that was asked for."""

from __future__ import annotations

import os

import pytest

from casflow.errors import CasflowError, IntegrityError
from casflow.storage import git_remote
from tests.hosts.server import Answer
from tests.sources.conftest import PATH, script

DEEP = b'{"commitId":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
WRONG = {
    "deep": Answer(200, DEEP),
    "a list": Answer(200, b"[1]"),
    "text": Answer(200, b"<html>"),
    "nothing": Answer(200, b""),
    "members of other types": Answer(200, b'{"commitId": {}, "subFolders": 5}'),
    "a list of text": Answer(200, b'{"commitId": "a", "symbolicLinks": ["x"]}'),
    "a refusal that is deep": Answer(400, DEEP),
    "a refusal of other types": Answer(400, b'{"__type": [1], "message": {}}'),
    "elsewhere": Answer(302, b"", {"Location": "http://127.0.0.1:1/"}),
    "too much": Answer(200, b" " * (10 << 20)),
}


@pytest.mark.parametrize("name", WRONG)
def test_codecommit_may_send_what_it_likes(open_world, name):
    world = open_world("codecommit")
    world.commit("one")
    storage = world.storage()
    world.host.next.extend([WRONG[name]] * 20)
    with pytest.raises(CasflowError) as caught:
        storage.resolve("my-flow")
    assert caught.value.exit_code != 1
    assert len(world.host.log) < 12


def test_codecommit_is_read_no_further_than_its_bound(open_world):
    world = open_world("codecommit")
    world.commit("one")
    world.host.next.extend([WRONG["too much"]])
    with pytest.raises(IntegrityError, match="longer than"):
        world.storage().resolve("my-flow")


@pytest.mark.parametrize("bound", ["MOST_FETCHED", "MOST_PRINTED"])
def test_git_writes_no_more_than_its_bounds(open_world, monkeypatch, bound):
    world = open_world("git")
    files = {PATH: script("one"), "flows/data.bin": os.urandom(300_000)}
    world.repository.commit(files)
    assert world.storage().resolve("my-flow").flow == "my-flow"
    world.use("second")
    monkeypatch.setattr(git_remote, bound, 64 << 10)
    with pytest.raises(IntegrityError, match="git gives over 65536 bytes"):
        world.storage().resolve("my-flow")


def test_a_listing_of_git_has_a_bound(open_world, monkeypatch):
    world = open_world("git")
    names = {f"flows/{number:05}{'x' * 100}": "" for number in range(300)}
    world.repository.commit({PATH: script("one"), **names})
    monkeypatch.setattr(git_remote, "MOST_PRINTED", 16 << 10)
    with pytest.raises(IntegrityError, match="git gives over"):
        world.storage().resolve("my-flow")
