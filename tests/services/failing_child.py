"""Run a Python program that is killed at its n-th effect on files below a folder.

    python failing_child.py N before|after|torn FOLDER (SCRIPT | -m MODULE | -c CODE) ARGUMENTS...

Effects are: a file opened for writing, a write to it, rename, replace, link, symlink, unlink,
mkdir, rmdir, truncate, and a statement by which SQLite changes or commits a database in the
folder. `torn` writes half of the data first and is `before` for everything that is not a write. A
statement of SQLite is always failed before; the next effect's `before` is its `after`. Invariant:
the process ends by SIGKILL at exactly that effect, or runs to its own end when there are fewer.
"""

from __future__ import annotations

import builtins
import io
import os
import runpy
import signal
import sqlite3
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATH_EFFECTS = ("rename", "replace", "link", "symlink", "unlink", "remove", "mkdir", "rmdir")
_NUMBER_EFFECTS = ("truncate", "ftruncate", "sendfile", "pwrite")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_READING_SQL = ("SELECT", "PRAGMA", "EXPLAIN", "BEGIN", "ROLLBACK", "--")


class Effects:
    """Counts effects below a folder and kills the process at the chosen one."""

    def __init__(self, fail_at: int, when: str, folder: str) -> None:
        self.fail_at = fail_at
        self.when = when
        self.folder = os.path.realpath(folder)
        self.count = 0
        self._lock = threading.RLock()

    def concerns(self, path: Any) -> bool:
        """Tell whether a path, or an open file's number, is the folder or in it."""
        if isinstance(path, int):
            path = f"/proc/self/fd/{path}"
        place = os.path.realpath(os.fsdecode(path))
        return place == self.folder or place.startswith(self.folder + os.sep)

    @contextmanager
    def effect(self, torn: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Count what happens inside; end the process before or after it when it is its turn."""
        with self._lock:
            self.count += 1
            chosen = self.count == self.fail_at
        if chosen and self.when != "after":
            if self.when == "torn":
                torn()
            self.kill()
        yield
        if chosen:
            self.kill()

    def kill(self) -> None:
        """End the process as the kernel ends it: nothing is flushed, nothing is tidied up."""
        os.kill(os.getpid(), signal.SIGKILL)


class CountedFile(io.FileIO):
    """A raw file whose opening and writes are effects."""

    effects: Effects

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")

        def half() -> None:
            super(CountedFile, self).write(view[: len(view) // 2])

        with self.effects.effect(half):
            return super().write(view)


def install(effects: Effects) -> None:
    """Put the counting in front of every call that changes files."""
    CountedFile.effects = effects
    for name in _PATH_EFFECTS + _NUMBER_EFFECTS:
        setattr(os, name, _counted_call(effects, getattr(os, name)))
    os.write = _counted_write(effects, os.write)
    os.open = _counted_open(effects, os.open)
    io.open = builtins.open = _counted_io_open(effects, io.open)
    _install_sqlite(effects)


def _counted_call(effects: Effects, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, *rest: Any, **named: Any) -> Any:
        target = rest[0] if rest and isinstance(rest[0], str | bytes | os.PathLike) else path
        folder = named.get("dir_fd")
        if folder is not None:
            path = target = Path(f"/proc/self/fd/{folder}", path)
            named = {key: value for key, value in named.items() if key != "dir_fd"}
        if not (effects.concerns(path) or effects.concerns(target)):
            return real(path, *rest, **named)
        with effects.effect():
            return real(path, *rest, **named)

    return call


def _counted_write(effects: Effects, real: Callable[..., int]) -> Callable[..., int]:
    def write(number: int, data: Any) -> int:
        if not effects.concerns(number):
            return real(number, data)
        view = memoryview(data).cast("B")
        with effects.effect(lambda: real(number, view[: len(view) // 2])):
            return real(number, data)

    return write


def _counted_open(effects: Effects, real: Callable[..., int]) -> Callable[..., int]:
    def open_file(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if not flags & _WRITING or not effects.concerns(path):
            return real(path, flags, *rest, **named)
        with effects.effect():
            return real(path, flags, *rest, **named)

    return open_file


def _counted_io_open(effects: Effects, real: Callable[..., Any]) -> Callable[..., Any]:
    def open_file(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
        if not set(mode) & set("wax+") or not effects.concerns(file):
            return real(file, mode, buffering, *rest, **named)
        return _open_counted(effects, file, mode, buffering, *rest, **named)

    return open_file


def _open_counted(
    effects: Effects,
    file: Any,
    mode: str,
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    plain = mode.replace("b", "").replace("t", "")
    if isinstance(file, int):
        raw = CountedFile(file, plain, closefd, opener)
    else:
        with effects.effect():
            raw = CountedFile(file, plain, closefd, opener)
    if buffering == 0:
        return raw
    size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
    binary = io.BufferedRandom(raw, size) if "+" in mode else io.BufferedWriter(raw, size)
    if "b" in mode:
        return binary
    text = io.TextIOWrapper(binary, encoding, errors, newline, line_buffering=buffering == 1)
    text.mode = mode
    return text


def _install_sqlite(effects: Effects) -> None:
    real = sqlite3.connect

    def connect(database: Any, *rest: Any, **named: Any) -> sqlite3.Connection:
        connection = real(database, *rest, **named)
        path = str(database).removeprefix("file:").partition("?")[0]
        if path != ":memory:" and effects.concerns(path):
            connection.set_trace_callback(_traced(effects))
        return connection

    sqlite3.connect = sqlite3.dbapi2.connect = connect


def _traced(effects: Effects) -> Callable[[str], None]:
    def trace(statement: str) -> None:
        if statement.lstrip().upper().startswith(_READING_SQL):
            return
        effects.count += 1
        if effects.count == effects.fail_at:
            effects.kill()

    return trace


def main(arguments: list[str]) -> None:
    """Install the counting, then run the program as Python itself would."""
    fail_at, when, folder, *program = arguments
    effects = Effects(int(fail_at), when, folder)
    kind, *rest = program
    sys.argv = rest if kind in ("-m", "-c") else program
    sys.path[0] = "" if kind in ("-m", "-c") else str(Path(kind).resolve().parent)
    install(effects)
    if kind == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
