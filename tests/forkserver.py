"""A process that has the command line loaded, and forks one for each command of a test.

Owns how most commands of the tests are started: their imports, half a second of CPU each, are done
once for a worker. Invariant: such a process differs from a new one only in its hash seed and in
what is imported already. Tests of what must not depend on either start new ones.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock

_LOADED = ("casflow.cli", "casflow.storage", "casflow.trees", "casflow.registry", "casflow.gc")
_LONG_LIVED = ("agent", "top")  # have children and signals of their own
_LIMIT = 1 << 20  # bytes of a request
_AT_START = ("PYTHON", "LANG", "LC_", "LD_", "MALLOC")  # variables that count only then
_starting = Lock()
_ENDED = 125  # exit code of a child whose end nobody saw


def can_fork(arguments: list[str], environment: dict[str, str]) -> bool:
    """Tell whether a forked process will do for a command."""
    command = next((each for each in arguments if not each.startswith("-")), "")
    return (
        sys.platform == "linux"
        and command not in _LONG_LIVED
        and _of_start(environment) == _of_start(dict(os.environ))
    )


def _of_start(environment: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in environment.items() if name.startswith(_AT_START)}


def run(
    arguments: list[str],
    environment: dict[str, str],
    folder: Path | None = None,
    program: Path | None = None,
) -> tuple[int, str, str]:
    """Run `casflow`, or a program, in a forked process; return its exit code and what it printed.

    The code is negative for a signal, as of `subprocess`.
    """
    mask = os.umask(0)
    os.umask(mask)
    what = (arguments, environment, str(folder or Path.cwd()), mask, program and str(program))
    request = json.dumps(what).encode()
    ours, theirs = socket.socketpair()
    with _starting:
        control, _ = _server()
    with ours, theirs, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        socket.send_fds(control, [request], [each.fileno() for each in (theirs, out, err)])
        theirs.close()
        ours.settimeout(120)
        code = int(ours.recv(16) or _ENDED)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return code, *texts


@cache
def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Return this process's server, started at first, and its socket; it ends with that."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LIMIT)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
    return ours, process


# ---- in the server ---------------------------------------------------------------------------


def serve(control: socket.socket) -> str | None:
    """Answer requests; return only in a process that was forked for one, and is set up for it.

    Returns:
        The path of the program to run, None for casflow.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _LIMIT, 3)
        if not message:
            sys.exit()
        if os.fork() == 0:
            control.close()
            break
        for each in descriptors:
            os.close(each)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    done, out, err = descriptors
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os.write(done, str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    os.close(done)
    for source, target in ((out, 1), (err, 2)):
        os.dup2(source, target)
        os.close(source)
    arguments, environment, folder, mask, program = json.loads(message)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.umask(mask)
    os.chdir(folder)
    sys.path[0] = folder
    sys.argv[1:] = arguments
    return program


def main() -> None:
    """Load every command, then serve; in a forked process run the command that was asked for."""
    for name in _LOADED:
        package = importlib.import_module(name)
        for each in pkgutil.iter_modules(package.__path__, f"{name}."):
            importlib.import_module(each.name)
    with suppress(ImportError):
        importlib.import_module("boto3")
    gc.freeze()
    program = serve(socket.socket(fileno=int(sys.argv[1])))
    if program is None:
        runpy.run_module("casflow", run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
