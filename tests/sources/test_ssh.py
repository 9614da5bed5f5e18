"""Git over ssh, against a real server: what a host that is not trusted or does not trust says."""

from __future__ import annotations

import getpass
import os
import pty
import subprocess
import sys
import textwrap

import pytest

from casflow.errors import AccessError, UnavailableError
from casflow.storage import Git
from tests.sources.conftest import PATH

PROGRAM = """
    import fcntl, os, sys, termios
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # a terminal that something could ask on
    from casflow.errors import AccessError
    from casflow.storage import Git
    storage = Git("f.py", repo=sys.argv[1])
    storage.flows["f"] = "f.py"
    try:
        storage.get_flow("f")
    except AccessError as error:
        sys.stderr.write(str(error))
"""


@pytest.fixture
def world(open_world):
    world = open_world("git-ssh")
    world.commit("one")
    return world


def distrust(server):
    server.write("known_hosts", "")


def change_host_key(server):
    key = (server.folder / "user.pub").read_text()
    server.write("known_hosts", f"[127.0.0.1]:{server.port} {key}")


def refuse_key(server):
    (server.folder / "user").unlink()
    server.make_key("other")
    (server.folder / "other").rename(server.folder / "user")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (distrust, "not trusted.*Host key verification failed.*known_hosts"),
        (change_host_key, "not trusted.*Host key verification failed.*known_hosts"),
        (refuse_key, "refused.*Permission denied.*credential"),
    ],
)
def test_a_refusal_is_an_access_error_of_one_line(world, spoil, says):
    form = world.register()
    spoil(world.host.server)
    with pytest.raises(AccessError, match=says) as caught:
        world.run(form)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("own", [None, "ssh"])
def test_nothing_is_asked_on_the_terminal(world, own, monkeypatch):
    if own is not None:
        monkeypatch.setenv("GIT_SSH_COMMAND", own)
    distrust(world.host.server)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), world.storage().repo]
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    said = child.communicate(timeout=60)[1].decode()
    os.set_blocking(ours, False)
    with pytest.raises(BlockingIOError):
        os.read(ours, 1000)
    os.close(ours)
    os.close(theirs)
    assert "Host key verification failed" in said


def test_an_address_as_scp_writes_it_is_reached(world, monkeypatch):
    server = world.host.server
    settings = (server.folder / "client").read_text()
    server.write("client", f"{settings}Host here\n  HostName 127.0.0.1\n  Port {server.port}\n")
    monkeypatch.setenv("ADDRESS", f"{getpass.getuser()}@here:org/repo.git")
    storage = Git(PATH, git_clone_url_secret_name="ADDRESS")
    storage.flows["my-flow"] = PATH
    assert storage.get_flow("my-flow").mark == "one"


def test_a_server_that_is_gone_is_named_by_ssh_itself(world):
    form = world.register()
    world.host.stop()
    with pytest.raises(UnavailableError, match="Connection refused"):
        world.run(form)


def test_two_ways_to_one_commit_have_one_digest(world):
    over_ssh = world.run(world.register()).reference
    local = Git(PATH, repo=str(world.repository.folder))
    local.flows["my-flow"] = PATH
    assert local.reference("my-flow").digest == over_ssh.digest
