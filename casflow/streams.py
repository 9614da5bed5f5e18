r"""Text streams that people read.

Owns what may reach a terminal or a log. Invariant: whatever is written to a `SafeStream` arrives
without secrets, and without characters that a terminal obeys or that turn the direction of text;
they are written as `\uXXXX`, which is what JSON means by it, too.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from casflow.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def visible(text: str) -> str:
    """Return a text in which characters that would act on a terminal are escaped."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def safe(value: object) -> str:
    """Return a value as it may be printed: without secrets and with nothing that acts."""
    return visible(redact(str(value)))


class SafeStream:
    """A text stream whose every write goes through `safe`.

    Args:
        stream: Where the text goes; what its encoding lacks is written with backslashes.
    """

    def __init__(self, stream: TextIO) -> None:
        self.raw = stream
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str | bytes) -> int:
        """Write a text, or the bytes of one in UTF-8, and return the length of what was given.

        Raises:
            TypeError: It is neither.
        """
        if isinstance(text, bytes | bytearray):  # what `click.echo` writes where no `buffer` is
            self.raw.write(safe(text.decode(errors="backslashreplace")))
            return len(text)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.raw.write(safe(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # bytes would go past `safe`
            raise AttributeError(name)
        return getattr(self.raw, name)


class RedactedStream(SafeStream):
    """A text stream that only leaves secrets out, for programs whose output is their own."""

    def write(self, text: str | bytes) -> int:
        """Write a text without secrets, and return the length of what was given.

        Raises:
            TypeError: It is no text.
        """
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.raw.write(redact(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextmanager
def safe_streams() -> Iterator[None]:
    """Have standard output and error of this process be safe streams; closed ones lead nowhere."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, _open_null(number))
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (SafeStream(each) for each in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _open_null(number: int) -> TextIO:
    """Open the null device under the number of a closed stream, which else a file would get."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    if descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.set_inheritable(number, True)  # noqa: FBT003 - by position only
    return open(number, "w" if number else "r", closefd=False)


def write_content(file: BinaryIO) -> None:
    """Write the bytes of a file to standard output, made safe where that is a terminal."""
    if sys.stdout.isatty():
        sys.stdout.write(file.read().decode(errors="backslashreplace"))
        return
    stream = raw_stream(sys.stdout)
    stream.flush()
    shutil.copyfileobj(file, stream.buffer, 1 << 20)


def raw_stream(stream: Any) -> Any:
    """Return the stream below a safe one, for who writes what `safe` has gone over already."""
    return stream.raw if isinstance(stream, SafeStream) else stream
