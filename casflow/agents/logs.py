"""What runs print, kept on the machine that ran them.

Owns the folder `<home>/logs`. Invariant: a log is at most its first part and its last three, all
logs are at most 64 MB and 30 days old, and what is kept of a run never stops or slows its end: a
folder that cannot be written to costs the log, not the run.

A log is a row of files of one size, `<run>-<created>-<attempt>.<number>`, so that a place in it is
known by its offset, whatever was left out before it. The moment in the name tells runs of several
registries apart that have the same number.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from casflow import config
from casflow.redaction import redact
from casflow.streams import raw_stream

if TYPE_CHECKING:
    from pathlib import Path

    from casflow.registry import Run

log = logging.getLogger("casflow.agents")

PART = 1 << 18  # bytes of a file
_LAST_PARTS = 3  # that are kept besides the first
_MAX_BYTES = 64 * 10**6  # of all logs
_MAX_AGE = 30 * 86400.0  # seconds
_NAME = re.compile(r"\d+-\d+-(?P<attempt>\d+)\.\d+")


class Piece(NamedTuple):
    """A piece of a log: where it begins, its bytes, how many were left out before it."""

    start: int
    data: bytes
    left_out: int


def folder() -> Path:
    """Return the folder of logs."""
    return config.load().home / "logs"


class RunLog:
    """The log of one attempt at a run; it is made when something is written.

    Args:
        run: The run as it was claimed.
    """

    def __init__(self, run: Run, attempt: int | None = None) -> None:
        self._stem = f"{_stem(run)}-{run.attempt if attempt is None else attempt}"
        self._number = -1
        self._size = PART
        self._file: int | None = None
        self._failed = False

    def write(self, data: bytes) -> None:
        """Append bytes, without secrets; what cannot be written is lost."""
        text = redact(data.decode("utf-8", "surrogateescape"))
        view = memoryview(text.encode("utf-8", "surrogateescape"))
        try:
            while view and not self._failed:
                if self._size >= PART:
                    self._open_next()
                count = os.write(self._file or 0, view[: PART - self._size])
                self._size += count
                view = view[count:]
        except OSError as error:
            self._failed = True
            log.warning("the log of run %s is not kept (%s)", self._stem.split("-")[0], error)

    def close(self) -> None:
        """Close its file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._failed = True

    def _open_next(self) -> None:
        if self._number < 0:
            config.make_folder(folder())
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._number += 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._part(self._number), flags, 0o600)
        self._size = 0
        if self._number > _LAST_PARTS:
            with suppress(FileNotFoundError):
                self._part(self._number - _LAST_PARTS).unlink()

    def _part(self, number: int) -> Path:
        return folder() / f"{self._stem}.{number:06}"

    def parts(self) -> list[int]:
        """Return the numbers of the parts that are there, in order."""
        found = folder().glob(f"{self._stem}.*")
        return sorted(int(each.suffix[1:]) for each in found if each.suffix[1:].isdigit())

    def read(self, offset: int = 0) -> list[Piece]:
        """Return what stands from an offset on."""
        pieces: list[Piece] = []
        for number in self.parts():
            start = max(number * PART, offset)
            if start >= (number + 1) * PART:
                continue
            with suppress(FileNotFoundError):  # it was left out in the meantime
                with self._part(number).open("rb") as file:
                    file.seek(start - number * PART)
                    data = file.read()
                if data:
                    pieces.append(Piece(start, data, start - offset))
                    offset = start + len(data)
        return pieces


def find_log(run: Run) -> RunLog | None:
    """Return the log of the latest attempt at a run that was kept here, or None."""
    names = [_NAME.fullmatch(each.name) for each in folder().glob(f"{_stem(run)}-*")]
    attempts = [int(name["attempt"]) for name in names if name is not None]
    return RunLog(run, max(attempts)) if attempts else None


def keep(descriptor: int, kept: RunLog) -> threading.Thread:
    """Keep what is written to the other end of a pipe, and pass it on to standard error.

    Returns:
        The thread that reads until the pipe ends, so that no run waits for its agent.
    """
    thread = threading.Thread(target=_pump, args=(descriptor, kept), daemon=True)
    thread.start()
    return thread


def _pump(descriptor: int, kept: RunLog) -> None:
    stream = raw_stream(sys.stderr)
    try:
        while piece := os.read(descriptor, 1 << 16):
            kept.write(piece)
            with suppress(OSError, ValueError):  # the agent's own output is gone
                stream.write(piece.decode(errors="backslashreplace"))
                stream.flush()
    finally:
        os.close(descriptor)
        kept.close()


def _stem(run: Run) -> str:
    return f"{run.id}-{int(run.created.timestamp() * 1_000_000)}"


def trim(most: int = _MAX_BYTES, age: float = _MAX_AGE) -> None:
    """Remove the oldest logs until at most so many bytes are left, none older than an age."""
    found = []
    for path in folder().glob("*-*-*.*"):
        with suppress(FileNotFoundError):
            stat = path.stat(follow_symlinks=False)
            found.append((stat.st_mtime, path, stat.st_size))
    total, oldest = sum(size for *_, size in found), time.time() - age
    for modified, path, size in sorted(found):
        if total <= most and modified >= oldest:
            return
        with suppress(FileNotFoundError):
            path.unlink()
        total -= size
