"""A registry that does not answer: one line and exit code 7, whatever was asked for."""

from __future__ import annotations

import socket

import pytest

from tests.services.process import free_port


@pytest.mark.parametrize(
    "command",
    ["ls", "run Plain", "runs create Plain", "agent start", "agent status", "register -p {script}"],
)
def test_an_unreachable_registry_is_one_line(home, command):
    url = f"postgresql+psycopg://user:s3cr3t@127.0.0.1:{free_port()}/d"
    words = command.format(script=home.script()).split()
    out, err = home.casflow(*words, code=7, environment={"CASFLOW_REGISTRY": url})
    assert out == ""
    (line,) = err.splitlines()
    assert "the registry does not answer" in line
    assert url.replace("user:s3cr3t", "***") in line
    assert line.endswith("; check that the server runs and try again")


def test_a_server_that_never_answers_is_given_up(home):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql+psycopg://user:s3cr3t@127.0.0.1:{port}/d?connect_timeout=2"
        _, err = home.casflow("ls", code=7, environment={"CASFLOW_REGISTRY": url})
    assert len(err.splitlines()) == 1
