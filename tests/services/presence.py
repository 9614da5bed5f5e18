"""Which services this machine has: a test skips without its service, but fails where all must run.

Invariant: with `CASFLOW_REQUIRE_SERVICES=1` no test is skipped for want of a service, so that a
green run means that all of them ran.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def missing(service: str, reason: str) -> NoReturn:
    """Skip the test that needs a service, or fail it where services are required."""
    text = f"{service} is not here: {reason}"
    if os.environ.get("CASFLOW_REQUIRE_SERVICES") == "1":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def require(service: str, *programs: str, install: str, root: bool = False) -> None:
    """Skip or fail unless the programs are on the machine.

    Args:
        service: What needs them.
        programs: Their names; any folder of system programs will do.
        install: What brings them, for the message.
        root: Whether only root can start the service.
    """
    for program in programs:
        if find_program(program) is None:
            missing(service, f"no {program}; install {install}")
    if root and os.geteuid() != 0:
        missing(service, "only root can start it")


def find_program(name: str) -> str | None:
    """Return the path of a program, those that only root has on its path included.

    `uv run` says in `UV` where it is itself, which need not be on the path.
    """
    if name == "uv" and "UV" in os.environ:
        return os.environ["UV"]
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    return shutil.which(name, path=path)


def program(name: str) -> str:
    """Return the path of a program that `require` has found."""
    path = find_program(name)
    assert path is not None, name
    return path


def cache_folder() -> Path:
    """Return the folder in which slow parts outlive one run of the tests."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(base, "casflow-ci")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
