"""The source map: true files and lines for code whose blob says line 1 of `<flow>`.

Owns the attachment's form and how it is put back while loading. Invariant: a map is plain data
(numbers, file names, line tables) and is checked against the blob that it is put into: nothing in
it is unpickled, and what does not fit is refused. Every map made with a blob of the same bytes
fits.

The form: `CFSM`, a version byte, the numbers of files and of code objects, then little-endian
32-bit numbers, five for each code object in five tables (offset of its file name, offset of its
line, index of its file, first line, size of its line table) and one for each file (size of its
name), then the file names in UTF-8, then the line tables.
"""

from __future__ import annotations

import io
import pickle
import struct
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from casflow.errors import IntegrityError
from casflow.serialize.graph import integer, raw, text
from casflow.serialize.records import NO_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from casflow.digests import Buffer
    from casflow.serialize.graph import Literal

_MAGIC = b"CFSM\x01"
_HEADER = struct.Struct("<5sII")
_NO_LINE = integer(1)
_MOST_LINES = 2**31 - 1  # what Python's code objects can say
_LARGE = 1 << 16  # bytes from which a blob is not copied for its map
_BUFFER = 1 << 17
_SHORT_BINBYTES, _BINBYTES = 0x43, 0x42


def build(literals: Sequence[tuple[int, Literal]], relative: Callable[[str], str]) -> bytes:
    """Return the map of the code in a stream, empty when there is none.

    Args:
        literals: What `emit` returned: each literal with its offset.
        relative: What to call a file.
    """
    files = [(at, each.info) for at, each in literals if each.role == "file"]
    if not files:
        return b""
    lines = [at for at, each in literals if each.role == "line"]
    names = [relative(source.file) for _, source in files]
    known = sorted(set(names))
    encoded = [name.encode("utf-8", "surrogatepass") for name in known]
    tables = [source.table for _, source in files]
    numbers = [
        *(at for at, _ in files),
        *lines,
        *(known.index(name) for name in names),
        *(source.line for _, source in files),
        *map(len, tables),
        *map(len, encoded),
    ]
    header = _HEADER.pack(_MAGIC, len(known), len(files))
    return b"".join([header, struct.pack(f"<{len(numbers)}I", *numbers), *encoded, *tables])


def loads(data: Buffer, source_map: bytes) -> Any:
    """Load a blob with the files and lines of its code in place.

    Raises:
        IntegrityError: The map is damaged, or is that of other bytes.
    """
    try:
        pieces = _spliced(memoryview(data) if len(data) > _LARGE else data, source_map)
    except (struct.error, IndexError, ValueError) as error:
        raise IntegrityError(f"damaged source map ({error})") from error
    if len(data) <= _LARGE:
        return pickle.loads(b"".join(pieces))
    return pickle.load(io.BufferedReader(_Pieces(pieces), _BUFFER))


def with_lines(data: Buffer, source_map: bytes) -> bytes:
    """Return a blob that says the files and lines of its code itself.

    Raises:
        IntegrityError: The map is damaged, or is that of other bytes.
    """
    try:
        return b"".join(_spliced(data, source_map))
    except (struct.error, IndexError, ValueError) as error:
        raise IntegrityError(f"damaged source map ({error})") from error


class _Pieces(io.RawIOBase):
    """Pieces of a large stream, read as one file, so that they need not be joined."""

    def __init__(self, pieces: list[Any]) -> None:
        self._pieces = [memoryview(piece) for piece in reversed(pieces)]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = 0
        while self._pieces and size < len(buffer):
            piece = self._pieces.pop()
            part = piece[: len(buffer) - size]
            buffer[size : size + len(part)] = part
            size += len(part)
            if len(part) < len(piece):
                self._pieces.append(piece[len(part) :])
        return size


def _spliced(data: Any, source_map: bytes) -> list[Any]:
    files, starts, line_starts, indices, lines, tables = _read(source_map)
    pieces: list[Any] = []
    last, width = 0, len(NO_FILE)
    for start, line_start, index, line, table in zip(
        starts, line_starts, indices, lines, tables, strict=True
    ):
        name_end, end = start + width, line_start + 2
        fits = data[start:name_end] == NO_FILE and data[line_start:end] == _NO_LINE
        if not fits or not last <= start < line_start or line > _MOST_LINES:
            raise ValueError("it does not belong to these bytes")
        place = data[last:start], files[index], data[name_end:line_start]
        pieces += (*place, integer(line), raw(table))
        short = data[end] == _SHORT_BINBYTES
        last = end + (2 + data[end + 1] if short else _size_of_bytes(data, end))
    pieces.append(data[last:])
    return pieces


def _size_of_bytes(data: Any, at: int) -> int:
    if data[at] != _BINBYTES:
        raise ValueError("it does not belong to these bytes")
    size: int = struct.unpack_from("<I", data, at + 1)[0]
    return 5 + size


def _read(source_map: bytes) -> tuple[Any, ...]:
    magic, file_count, count = _HEADER.unpack_from(source_map)
    if magic != _MAGIC:
        raise ValueError("it is of an unknown form")
    total = 5 * count + file_count
    numbers = struct.unpack_from(f"<{total}I", source_map, _HEADER.size)
    sizes = (*numbers[5 * count :], *numbers[4 * count : 5 * count])
    ends = list(accumulate(sizes, initial=_HEADER.size + 4 * total))
    if ends[-1] != len(source_map):
        raise ValueError("it is cut short")
    pieces = [source_map[a:b] for a, b in pairwise(ends)]
    files = [text(piece.decode("utf-8", "surrogatepass")) for piece in pieces[:file_count]]
    starts, line_starts, indices, lines = (
        numbers[at * count : (at + 1) * count] for at in range(4)
    )
    return files, starts, line_starts, indices, lines, pieces[file_count:]
