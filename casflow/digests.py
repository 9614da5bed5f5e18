"""Digests: the names that bytes get from their content.

Owns the one spelling of a digest, `blake3:` and 64 lower-case hexadecimal digits, and the check
that bytes are what their name says. Invariant: a digest that left `parse` is well formed, and
nothing in casflow computes a content digest anywhere else.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, BinaryIO

from blake3 import blake3

from casflow.errors import ConfigError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = "blake3:"
_FORM = re.compile(r"blake3:[0-9a-f]{64}")
_CHUNK = 1 << 20
_LARGE = 8 << 20  # bytes that several threads hash faster than one
_THREADS = min(4, os.cpu_count() or 1)

Buffer = bytes | bytearray | memoryview


class Hasher:
    """Computes the digest of bytes that arrive in pieces; counts them in `size`."""

    def __init__(self) -> None:
        self._state = blake3()
        self.size = 0

    def update(self, piece: Buffer) -> None:
        """Take in the next piece."""
        self._state.update(piece)
        self.size += len(piece)

    def digest(self) -> str:
        """Return the digest of everything so far."""
        return PREFIX + self._state.hexdigest()


class Verifying:
    """A file that is written and computes the digest of its bytes, most of it on the way.

    What comes out of order is read again in the end, so the file must be readable, too.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hasher = Hasher()
        self._at = 0
        self.size = 0

    def seek(self, position: int) -> int:
        """Go to where the next piece belongs."""
        self._at = position
        return self._file.seek(position)

    def write(self, piece: Buffer) -> int:
        """Write the next piece."""
        if self._at == self._hasher.size:
            self._hasher.update(piece)
        self._at += len(piece)
        self.size = max(self.size, self._at)
        return self._file.write(piece)

    def digest(self) -> str:
        """Return the digest of everything that was written."""
        if self._hasher.size < self.size:
            self._file.seek(self._hasher.size)
            for piece in pieces(self._file):
                self._hasher.update(piece)
        return self._hasher.digest()

    def check(self, digest: str, *, where: object) -> None:
        """Check that all that was written has a digest.

        Raises:
            IntegrityError: It has another.
        """
        actual = self.digest()
        if actual != digest:
            raise IntegrityError(
                "content does not match its digest", where=where, expected=digest, actual=actual
            )


def digest_of(data: Buffer) -> str:
    """Return the digest of bytes in memory."""
    # Named in numbers, the threads are this call's own; those of AUTO do not survive a fork.
    threads = _THREADS if len(data) >= _LARGE else 1
    return PREFIX + blake3(data, max_threads=threads).hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the digest of a file, read in pieces of 1 MiB."""
    hasher = Hasher()
    with path.open("rb") as file:
        for piece in pieces(file):
            hasher.update(piece)
    return hasher.digest()


def pieces(file: BinaryIO, size: int = _CHUNK) -> Iterator[bytes]:
    """Yield the rest of a file in pieces of at most `size` bytes."""
    while piece := file.read(size):
        yield piece


def parse(text: str) -> str:
    """Return `text` if it is a well-formed digest.

    Raises:
        ConfigError: It is not.
    """
    if not isinstance(text, str) or not _FORM.fullmatch(text):
        raise ConfigError(
            "not a digest", where=repr(text), hint="write blake3: and 64 hexadecimal digits"
        )
    return text


def hex_of(digest: str) -> str:
    """Return the 64 hexadecimal digits of a digest, which are safe in file names and keys."""
    return parse(digest)[len(PREFIX) :]


def verify(data: Buffer, digest: str, *, where: object) -> None:
    """Check that bytes have the digest that they are named by.

    Raises:
        IntegrityError: They do not; the message names `where` and both digests.
    """
    actual = digest_of(data)
    if actual != digest:
        raise IntegrityError(
            "content does not match its digest", where=where, expected=digest, actual=actual
        )
