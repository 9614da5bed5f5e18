"""The leash between an agent and the process of a run: a pipe whose end is everybody's end.

Owns what goes through that pipe. Invariant: when the agent is gone, even by SIGKILL, the kernel
ends the whole process group of the run; no thread or signal handler of ours is in its way.
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
class Order:
    """What an agent asks of a process.

    Attributes:
        run: Number of the run.
        attempt: The attempt that the run was claimed as.
        flow: Name of the flow.
        storage: JSON form of the storage that holds it.
        parameters: The flow's parameters.
        report: Descriptor of the sheet that the report is written on.
        registry: Who is told how it ended where no sheet can be handed over: URL of the registry,
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
class Errand:
    """What an agent asks of a process that prepares runs of a version.

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


AnyOrder = TypeVar("AnyOrder", Order, Errand)


def give(order: Order | Errand, pipe: IO[bytes]) -> None:
    """Send an order; the pipe has to stay open for as long as the process may live."""
    form = {each.name: getattr(order, each.name) for each in fields(order)}
    pipe.write(json.dumps(form).encode() + b"\n")
    pipe.flush()


def take(kind: type[AnyOrder]) -> AnyOrder:
    """Read the order from standard input, tie this process group to it, and empty the input.

    Raises:
        EOFError: The agent is gone already.
    """
    leash = os.dup(0)
    order = kind(**json.loads(_line(leash)))
    _tie(leash)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return order


def _line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            raise EOFError("the agent is gone")
        line += piece
    return line


def _tie(descriptor: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
    if hasattr(fcntl, "F_SETSIG"):  # else SIGIO, which ends a process that does not catch it
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    poll = select.poll()
    poll.register(descriptor, 0)
    if poll.poll(0):  # it went while we were at it, and nobody will be told again
        raise EOFError("the agent is gone")
