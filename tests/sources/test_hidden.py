"""Sentinel credentials show up nowhere: log lines, errors, reprs, references, files."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path

import pytest

from casflow.errors import CasflowError
from casflow.secrets import given
from tests.hosts.server import Answer
from tests.sources.test_paths import CREDENTIALS

SENTINEL = "sentinel-0123456789"


@pytest.mark.parametrize("kind", sorted(CREDENTIALS))
@pytest.mark.parametrize("place", ["environment", "secrets.toml", "context"])
def test_a_credential_shows_up_nowhere(open_world, monkeypatch, caplog, tmp_path, kind, place):
    token = CREDENTIALS[kind][0]
    user = "user:" if token.startswith("user:") else ""
    world = open_world(kind, user + SENTINEL, **CREDENTIALS[kind][1])
    world.commit("one")
    values = {"TOKEN": SENTINEL, "CLOUD_USER": "user"}
    if place == "environment":
        for name, value in values.items():
            monkeypatch.setenv(name, value)
    if place == "secrets.toml":
        home = tmp_path / "homes" / "first"
        home.mkdir(parents=True)
        path = home / "secrets.toml"
        path.touch(mode=0o600)
        path.write_text("".join(f'{name} = "{value}"\n' for name, value in values.items()))
    with caplog.at_level(logging.DEBUG), given(values if place == "context" else {}):
        form = world.register()
        opened = world.run(form)
        errors = [failing(world, form, each) for each in (401, 403, 404, 500, 418)]
        world.host.stop()
        errors.append(failing(world, form, None))
    seen = [json.dumps(form), repr(opened), caplog.text, *errors]
    seen += [repr(world.storage()), repr(vars(world.storage()))]
    files = [each for each in (tmp_path / "homes").rglob("*") if each.is_file()]
    seen += [each.read_bytes().decode("latin-1") for each in files if each.name != "secrets.toml"]
    coded = base64.b64encode(f"user:{SENTINEL}".encode()).decode()
    assert not [each for each in seen if SENTINEL in each or coded in each]


def failing(world, form, status):
    """Return all that an error shows, of a host that answers so and echoes the credential."""
    if status is not None:
        body = {"message": f"your token {SENTINEL} is bad"}
        world.host.next.extend([Answer.json(body, status)] * 4)
    with pytest.raises(CasflowError) as caught:
        world.run(form)
    world.host.next.clear()
    shown, error = [], caught.value
    while error is not None:
        shown.append(f"{error} {error!r} {vars(error)}")
        error = error.__cause__ or error.__context__
    return "".join(shown)


def test_a_credential_does_not_follow_a_redirect_to_another_host(open_world, monkeypatch):
    world = open_world("github", SENTINEL, access_token_secret="TOKEN")
    monkeypatch.setenv("TOKEN", SENTINEL)
    other = type(world.host)(world.repository).start()
    try:
        world.commit("one")
        target = f"{other.url.replace('127.0.0.1', 'localhost')}/repos/org/repo/commits/HEAD"
        world.host.next.append(Answer(302, b"", {"Location": target}))
        world.register()
        assert [each.headers.get("Authorization") for each in other.log] == [None]
    finally:
        other.stop()


def test_netrc_does_not_add_a_credential_of_its_own(open_world, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SENTINEL}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    world = open_world("github")
    world.commit("one")
    world.register()
    assert {each.headers.get("Authorization") for each in world.host.log} == {None}
    assert Path(netrc).exists()


def test_credentials_among_client_options_are_not_written():
    from casflow.storage import CodeCommit

    keys = {"aws_access_key_id": "AKIA", "aws_secret_access_key": SENTINEL, "region_name": "r"}
    storage = CodeCommit("repo", "f.py", client_options=keys)
    assert SENTINEL not in json.dumps(storage.serialize())
    assert storage.serialize()["client_options"] == {"region_name": "r"}
