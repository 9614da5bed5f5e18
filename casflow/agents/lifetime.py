"""The parent-death pipe between an agent and the process of a run.

Owns the pipe and the specification that is sent through it. Invariant: when
the agent is gone, even by SIGKILL, the kernel kills the whole process group of the run, without
any thread or signal handler of ours.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What the process of a run needs.

    Attributes:
        run: Number of the run.
        attempt: The attempt that the run was claimed as.
        flow: Name of the flow.
        storage: JSON form of the storage that holds it.
        parameters: The flow's parameters.
        report: Descriptor of the file that the report is written to.
        registry: Where the end is recorded when there is no such file: URL of the registry,
            with its password, which goes through the pipe alone.
    """

    run: int
    attempt: int
    flow: str
    storage: Mapping[str, Any]
    parameters: Mapping[str, Any]
    report: int | None = None
    registry: str = ""


@dataclass(frozen=True, slots=True)
class PrefetchSpec:
    """A version to be brought into the cache.

    Attributes:
        registry: URL of the registry, with its password.
        project: The flow's project.
        flow: Its name.
        version: Number of the version.
    """

    registry: str
    project: str
    flow: str
    version: int


Spec = TypeVar("Spec", RunSpec, PrefetchSpec)


def send(spec: RunSpec | PrefetchSpec, pipe: IO[bytes]) -> None:
    """Send a specification; the pipe has to stay open for as long as the process may live."""
    form = {each.name: getattr(spec, each.name) for each in fields(spec)}
    pipe.write(json.dumps(form).encode() + b"\n")
    pipe.flush()


def receive(kind: type[Spec]) -> Spec:
    """Read a specification from standard input, and let its end kill this process group.

    Standard input is empty afterwards.

    Raises:
        EOFError: The agent is gone already.
    """
    pipe = os.dup(0)
    spec = kind(**json.loads(_read_line(pipe)))
    _bind_to_pipe(pipe)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return spec


def _read_line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            raise EOFError("the agent is gone")
        line += piece
    return line


def _bind_to_pipe(descriptor: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
    if hasattr(fcntl, "F_SETSIG"):  # else SIGIO, which ends a process that does not catch it
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    poll = select.poll()
    poll.register(descriptor, 0)
    if poll.poll(0):  # it went while we were at it, and no further signal comes
        raise EOFError("the agent is gone")
