"""The command line run in this process, on a terminal of a width or on none."""

from __future__ import annotations

import io
import re

from casflow.cli import casflow


class Terminal(io.StringIO):
    """A stream that says it is a terminal, or not."""

    def __init__(self, *, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


def run(*arguments):
    """Run a command in this process."""
    casflow.main([str(each) for each in arguments], "casflow", standalone_mode=False)


def capture(monkeypatch, arguments, width):
    """Return what a command prints on a terminal of a width; None for no terminal."""
    stream = Terminal(is_terminal=width is not None)
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", stream)
        patch.setattr("sys.stderr", io.StringIO())
        patch.setenv("COLUMNS", str(width or 80))
        patch.setenv("NO_COLOR", "1")
        patch.setenv("TERM", "xterm")
        run(*arguments)
    return re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
