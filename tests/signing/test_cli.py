"""Signatures from the command line: who releases, who reviews, and the agents that obey."""

from __future__ import annotations

import os
import re
import sys

import pytest

from tests.home import Home


@pytest.fixture
def machines(tmp_path, keys):
    """Return the release job, an agent that trusts it, and what both share."""
    shared = {"CASFLOW_STORE": str(tmp_path / "store")}
    release, agent = Home(tmp_path / "release"), Home(tmp_path / "agent")
    return release, agent, {"environment": shared}


def policy(options, patterns, threshold=1):
    variables = {"CASFLOW_REQUIRE": patterns, "CASFLOW_THRESHOLD": str(threshold)}
    return {"environment": {**options["environment"], **variables}}


def public(keys, name):
    return keys[name].with_suffix(".pub")


def run(ref):
    return ("exec", ref, "--", sys.executable, "main.py")


@pytest.mark.slow
def test_a_release_is_rotated_and_revoked(machines, keys, project):
    release, agent, options = machines
    old, new = str(keys["old"]), str(keys["new"])
    release.casflow("push", project("print(1)"), "etl", "--tag", "prod", f"--sign={old}", **options)
    strict = policy(options, "etl *@prod")
    _, err = agent.casflow(*run("etl@prod"), code=6, **strict)
    assert "an unknown key" in err
    agent.casflow("trust", "add", public(keys, "old"), "--as", "release@example.com")
    assert agent.casflow(*run("etl@prod"), **strict)[0] == "1\n"
    # The new key stands beside the old one, then in its place.
    agent.casflow("trust", "add", public(keys, "new"), "--as", "release@example.com")
    release.casflow("push", project("print(2)"), "etl", "--tag", "prod", f"--sign={new}", **options)
    assert agent.casflow(*run("etl@prod"), **strict)[0] == "2\n"
    assert agent.casflow(*run("etl@1"), **strict)[0] == "1\n"
    agent.casflow("trust", "revoke", public(keys, "old"))
    _, err = agent.casflow(*run("etl@1"), code=6, **strict)
    assert "that signed it is revoked: etl; sign it again with another key" in err
    release.casflow("sign", "etl@1", "--key", new, **options)
    assert agent.casflow(*run("etl@1"), **strict)[0] == "1\n"
    # And the tag goes back by a move, not by taking one away.
    release.casflow("tag", "etl@1", "prod", f"--sign={new}", **options)
    assert agent.casflow(*run("etl@prod"), **strict)[0] == "1\n"
    listed = agent.json("trust", "ls", **strict)
    assert [each["revoked"] for each in listed["keys"]] == [True, False]
    assert (listed["require"], listed["threshold"]) == (["etl", "*@prod"], 1)


def test_two_people_and_what_is_said_of_them(machines, keys, project):
    release, agent, options = machines
    anna, bob = str(keys["anna"]), str(keys["bob"])
    release.casflow("push", project("print(1)"), "etl", f"--sign={anna}", **options)
    for name in ("anna", "bob"):
        agent.casflow("trust", "add", public(keys, name), "--as", f"{name}@example.com")
    strict = policy(options, "etl", threshold=2)
    _, err = agent.casflow(*run("etl"), code=6, **strict)
    assert "1 of 2 signatures that it needs" in err
    assert re.search(r"casflow sign etl@blake3:[0-9a-f]{64}", err)
    release.casflow("push", project("print(1)"), "etl", f"--sign={bob}", **options)
    assert agent.casflow(*run("etl"), **strict)[0] == "1\n"
    shown = agent.casflow("log", "etl", **options)[0]
    assert "anna@example.com, bob@example.com" in shown
    assert "SHA256:" in release.casflow("log", "etl", **options)[0]  # who trusts nobody sees keys
    (version,) = agent.json("log", "etl", **options)
    assert [each["principals"] for each in version["signed_by"]] == [
        "anna@example.com",
        "bob@example.com",
    ]


@pytest.mark.slow
def test_a_whole_store_is_checked(machines, keys, project, tmp_path):
    release, agent, options = machines
    anna = str(keys["anna"])
    release.casflow(
        "push", project("print(1)"), "etl", "--tag", "prod", f"--sign={anna}", **options
    )
    agent.casflow("trust", "add", public(keys, "anna"), "--as", "anna@example.com")
    strict = policy(options, "*")
    store = tmp_path / "store"
    assert agent.json("verify", store, "--signatures", **strict)["clean"]
    release.casflow("push", project("print(2)"), "etl", **options)
    release.casflow("push", project("print(3)"), "etl", f"--sign={keys['eve']}", **options)
    (path,) = [p for p in store.rglob("signatures/*/*") if b"eve" not in p.read_bytes()][:1]
    path.with_name("0" * 64).write_bytes(path.read_bytes()[:-60])
    checked = agent.casflow("verify", store, "--signatures", "--json", code=4, **strict)[0]
    kinds = re.findall(r'"kind": "([a-z ]+)"', checked)
    assert sorted(kinds) == ["unknown signer", "unknown signer", "unreadable", "unsigned"]
    assert agent.casflow("verify", store, **strict)  # only when it is asked for


@pytest.mark.slow
def test_flows_in_agents_and_in_runs(machines, keys):
    home, _, options = machines
    script, anna = home.script("Plain"), str(keys["anna"])
    home.casflow("register", "-p", script, **options)
    home.casflow("trust", "add", public(keys, "anna"), "--as", "anna@example.com")
    strict = policy(options, "Plain")
    _, err = home.casflow("run", "Plain", code=6, **strict)
    assert "it is not signed: Plain; register it again with --sign" in err
    home.casflow("runs", "create", "Plain", **options)
    home.casflow("agent", "start", "--once", code=..., **strict)
    (failed,) = home.json("runs", "ls", **options)
    assert (failed["state"], "it is not signed" in failed["message"]) == ("Failed", True)
    home.casflow("register", "-p", script, f"--sign={anna}", **options)
    assert "anna@example.com" in home.casflow("show", "Plain", **strict)[0]
    home.casflow("run", "Plain", **strict)
    home.casflow("runs", "create", "Plain", **options)
    home.casflow("agent", "start", "--once", code=..., **strict)
    assert home.json("runs", "ls", **options)[0]["state"] == "Success"
    home.casflow("trust", "add", public(keys, "bob"), "--as", "bob@example.com")
    two = policy(options, "Plain", threshold=2)
    home.casflow("run", "Plain", code=6, **two)
    signed = home.casflow("sign", "Plain", "--key", keys["bob"], **options)[0]
    assert signed == "Plain: signed, by anna@example.com, bob@example.com\n"
    home.casflow("run", "Plain", **two)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("push", ".", "x", "--sign=none"), "no such key to sign with: none"),
        (("push", ".", "x", "--sign"), "no key to sign with"),
        (("trust", "add", "none.pub", "--as", "a"), "no such public key"),
        (("trust", "add", "{private}", "--as", "a"), "a private key"),
        (("trust", "add", "{public}", "--as", "a b"), "a name with spaces"),
        (("trust", "add", "{public}", "--as", "a", "--until", "soon"), "not a day"),
        (("trust", "revoke", "{private}"), "a private key"),
        (("sign", "nothing", "--key", "{private}"), "no such name"),
    ],
)
def test_what_is_wrong_is_one_line(machines, keys, arguments, line, tmp_path):
    home, _, options = machines
    values = {"private": keys["anna"], "public": public(keys, "anna")}
    words = [each.format(**values) for each in arguments]
    environment = {**options["environment"], "SSH_AUTH_SOCK": ""}
    out, err = home.casflow(*words, code=..., environment=environment, cwd=tmp_path)
    assert line in err
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    "text", ["anna", "anna ssh-ed25519", "anna ssh-ed25519 AAAA", "anna odd=1 ssh-rsa AAAA", "\0"]
)
def test_a_file_of_signers_that_cannot_be_read_trusts_nobody(machines, keys, project, text):
    release, agent, options = machines
    release.casflow("push", project("print(1)"), "etl", f"--sign={keys['anna']}", **options)
    agent.path.mkdir(exist_ok=True)
    (agent.path / "allowed_signers").write_text(f"# ours\n{text}\n")
    _, err = agent.casflow(*run("etl"), code=2, **policy(options, "etl"))
    assert "cannot read this line" in err
    assert "allowed_signers:2" in err
    assert os.linesep * 2 not in err
