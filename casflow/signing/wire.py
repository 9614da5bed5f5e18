"""SSH's wire form: numbers and byte strings with their length before them (RFC 4251, section 5).

Owns reading and writing it. Invariant: what is read is bounded by what is there; bytes that end too
early, or go on where they should end, are an `IntegrityError`.
"""

from __future__ import annotations

from casflow.errors import IntegrityError


class Reader:
    """Reads values one after the other.

    Args:
        data: The bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes.

        Raises:
            IntegrityError: There are not so many.
        """
        end = self.position + size
        if end > len(self._data):
            raise IntegrityError("a key or signature that ends too early")
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def number(self, size: int = 4) -> int:
        """Return an unsigned number of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def string(self) -> bytes:
        """Return a byte string."""
        return self.take(self.number())

    def text(self) -> str:
        """Return a string of printable ASCII.

        Raises:
            IntegrityError: It is another one.
        """
        data = self.string()
        if not (data.isascii() and data.decode("ascii").isprintable()):
            raise IntegrityError(f"a key or signature with odd text {data[:40]!r}")
        return data.decode("ascii")

    def integer(self) -> int:
        """Return a number of any size that is not negative."""
        data = self.string()
        if data[:1] >= b"\x80":
            raise IntegrityError("a key or signature with a negative number")
        return int.from_bytes(data, "big")

    def is_at_end(self) -> bool:
        """Tell whether all is read."""
        return self.position == len(self._data)

    def end(self) -> None:
        """Make sure that all is read.

        Raises:
            IntegrityError: There is more.
        """
        if not self.is_at_end():
            raise IntegrityError("a key or signature with more behind it")


def string(data: bytes) -> bytes:
    """Return the wire form of a byte string."""
    return len(data).to_bytes(4, "big") + data


def integer(number: int) -> bytes:
    """Return the wire form of a number that is not negative."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")
