"""The fork server: a process with everything loaded that runs are forked from.

`python -m casflow.agents.forkserver DESCRIPTOR`, started by an agent that holds the other end of
the socket. Owns what is loaded before a run is known, and the children. Invariant: it has one
thread, runs nothing of a flow, and never changes after a run, so no run can leave anything to the
next; a child has of it the memory and nothing else.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from casflow.agents import execute, warmup
from casflow.agents.fork_client import REPORT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOADED = (
    "casflow.cache.index",
    "casflow.flow.run",
    "casflow.flow.runner",
    "casflow.flow.script",
    "casflow.results",
    "casflow.results.local",
    "casflow.results.serializers",
    "casflow.results.store",
    "casflow.serialize",
    "casflow.storage.local",
    "cloudpickle",
)
_MAX_BYTES = 1 << 16  # bytes of a message
_MAX_DESCRIPTORS = 3


class ForkServer:
    """Starts, signals and reaps children as its agent asks.

    Args:
        connection: Its end of the socket; each message is one packet of JSON.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._warm_up = warmup.make_warm_up()
        self._children: dict[int, int] = {}  # descriptor of a process by its id
        self._probes: dict[int, str] = {}
        self._refused: set[str] = set()

    def serve(self) -> Callable[[], int] | None:
        """Work until the agent is gone; return None then, and in a child what it is to do."""
        self._send(ready=True)
        while True:
            for descriptor in self._ready():
                if descriptor != self._connection.fileno():
                    self._reap(descriptor)
                    continue
                message, descriptors = self._receive()
                if message is None:
                    return None
                work = self._dispatch(message, descriptors)
                if work is not None:
                    return work

    def _ready(self) -> list[int]:
        poll = select.poll()
        for descriptor in (*self._children.values(), self._connection.fileno()):
            poll.register(descriptor, select.POLLIN)
        return [descriptor for descriptor, _ in poll.poll()]

    def _receive(self) -> tuple[dict[str, Any] | None, list[int]]:
        size = array.array("i").itemsize * _MAX_DESCRIPTORS
        data, ancillary, _, _ = self._connection.recvmsg(_MAX_BYTES, socket.CMSG_SPACE(size))
        descriptors = array.array("i")
        for _, _, packed in ancillary:
            descriptors.frombytes(packed[: len(packed) - len(packed) % descriptors.itemsize])
        return (json.loads(data) if data else None), list(descriptors)

    def _dispatch(
        self, message: dict[str, Any], descriptors: list[int]
    ) -> Callable[[], int] | None:
        if "fork" in message:
            return self._fork_child(descriptors)
        if "signal" in message:
            self._signal(*message["signal"])
        return self._probe(message.get("load", ()))

    def _fork_child(self, descriptors: list[int]) -> Callable[[], int] | None:
        child = self._fork()
        if child == 0:
            _set_up_child(self._connection, descriptors)
            self._warm_up()
            return execute.main
        for descriptor in descriptors:
            os.close(descriptor)
        self._send(forked=child)
        return None

    def _fork(self) -> int:
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            return 0
        with suppress(OSError):  # the child was faster, or is gone
            os.setpgid(child, child)
        self._children[child] = os.pidfd_open(child)
        return child

    def _signal(self, child: int, number: int) -> None:
        if child in self._children:  # not reaped yet, so the number is still that child's
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child, number)

    def _reap(self, descriptor: int) -> None:
        (child,) = (each for each, its in self._children.items() if its == descriptor)
        self._signal(child, signal.SIGKILL)  # what it left behind in its group
        _, status = os.waitpid(child, 0)
        os.close(self._children.pop(child))
        code = os.waitstatus_to_exitcode(status)
        if child in self._probes:
            self._finish_probe(self._probes.pop(child), clean=code == 0)
        else:
            self._send(ended=child, code=code)

    def _send(self, **message: Any) -> None:
        with suppress(OSError):  # the agent is gone; `serve` will see it
            self._connection.send(json.dumps(message).encode())

    # ---- modules that flows import ---------------------------------------------------------

    def _probe(self, modules: list[str]) -> Callable[[], int] | None:
        """Let a child find out whether each module can be loaded without a trace."""
        for name in modules:
            if name in sys.modules or name in self._refused or name in self._probes.values():
                continue
            child = self._fork()
            if child == 0:
                _set_up_child(self._connection)
                return lambda name=name: 0 if _has_no_side_effects(name) else 1  # type: ignore[misc]
            self._probes[child] = name
        return None

    def _finish_probe(self, name: str, *, clean: bool) -> None:
        if not clean:
            self._refused.add(name)
            return
        with suppress(Exception):  # it went well a moment ago; without it runs are only slower
            importlib.import_module(name)
        gc.collect()
        gc.freeze()


def _set_up_child(connection: socket.socket, descriptors: Sequence[int] = ()) -> None:
    """Make a forked child look like a process of its own: nothing open but what it is given.

    Args:
        connection: The server's, which the child must not keep.
        descriptors: Its standard input, report file and output, if any.
    """
    for number, descriptor in zip((0, REPORT, 1), descriptors, strict=False):
        os.dup2(descriptor, number, inheritable=number != REPORT)
    if descriptors:
        os.dup2(1, 2)
        _reopen_streams()
    connection.detach()
    os.closerange(REPORT + bool(descriptors), os.sysconf("SC_OPEN_MAX"))
    if "numpy.random" in sys.modules:  # unlike Python's own it is not seeded again by a fork
        sys.modules["numpy.random"].seed()


def _reopen_streams() -> None:
    """Make standard output and error anew, since the server's know the files that they were."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        encoding = getattr(sys, name).encoding
        options: Any = {"buffering": 1, "encoding": encoding, "errors": "backslashreplace"}
        stream = open(number, "w", closefd=False, **options)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _has_no_side_effects(name: str) -> bool:
    before = _process_state()
    try:
        importlib.import_module(name)
    except BaseException:  # noqa: BLE001 - whatever it raises, it cannot be loaded
        return False
    return _process_state() == before


def _process_state() -> tuple[object, ...]:
    """Return what a module that is loaded has to leave as it is."""
    signals = [signal.getsignal(each) for each in sorted(signal.valid_signals())]
    counted = [len(os.listdir(f"/proc/self/{each}")) for each in ("task", "fd")]  # noqa: PTH208
    return signals, counted, dict(os.environ), Path.cwd(), sys.path[:], sys.stdout, sys.stderr


def _exit_child(code: int) -> NoReturn:
    """End a child as an interpreter ends, save for taking apart memory that it shares.

    That would copy all of it, and take longer than most runs.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as multiprocessing does
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)


def main() -> int:
    """Serve, or in a child do its work; return the exit code."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(connection.fileno(), False)  # noqa: FBT003 - it takes no keyword
    for name in LOADED:
        importlib.import_module(name)
    server = ForkServer(connection)
    gc.collect()
    gc.freeze()
    work = server.serve()
    if work is None:
        return 0
    _exit_child(work())


if __name__ == "__main__":
    sys.exit(main())
