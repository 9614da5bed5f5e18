"""The flow layer: the blobs of an image's flows as one tar archive.

Owns its bytes and how a blob is read out of them. Invariant: the same blobs give the same bytes
in every process: no clock, no owner, sorted, each at a path that holds its digest; and they are
the bytes that an engine makes of the same files, so both builders give one uncompressed digest.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import stat
import struct
import tarfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from casflow.digests import hex_of
from casflow.errors import ConfigError, IntegrityError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from casflow.storage.docker.context import Entry

_BLOCK = 512
_LONGEST_NAME = 100  # bytes of a ustar header's name, and of its prefix
_LONGEST_PREFIX = 155
_LONGEST_HEADER = 1 << 20  # bytes of a header that continues another
_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_BLANK = b" " * 8  # stands for the checksum while it is computed
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_FILE = (b"0", stat.S_IFREG | 0o644)
_LINK = (b"2", stat.S_IFLNK | 0o777)
_FOLDER = (b"5", stat.S_IFDIR | 0o755)
# AttributeError: `tarfile` before 3.11.4 raises it for a compressed stream whose header ends early.
_BROKEN = (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, AttributeError)


def path_of(directory: str, digest: str) -> str:
    """Return where a blob is in an image."""
    return f"{directory.rstrip('/')}/flows/{hex_of(digest)}"


def pack_tree(tree: Mapping[str, Entry]) -> bytes:
    """Return the archive of files, folders and symbolic links by absolute path."""
    entries = {f"{folder}/": _entry(f"{folder}/", _FOLDER) for folder in _folders(tree)}
    for path, each in tree.items():
        mode = each.mode
        if stat.S_ISDIR(mode):
            entries[f"{path}/"] = _entry(f"{path}/", (b"5", mode))
        elif stat.S_ISLNK(mode):
            entries[path] = _entry(path, (b"2", mode), link=each.target)
        else:
            entries[path] = _entry(path, (b"0", mode), each.read())
    return b"".join(entries[path] for path in sorted(entries)) + bytes(2 * _BLOCK)


def pack(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """Return the archive of files and symbolic links by absolute path, with their folders."""
    entries = {f"{folder}/": _entry(f"{folder}/", _FOLDER) for folder in _folders(files)}
    for path, target in (links or {}).items():
        entries[path] = _entry(path, _LINK, link=target)
    for path, data in files.items():
        entries[path] = _entry(path, _FILE, data)
    together = b"".join(entries[path] for path in sorted(entries))
    return together + bytes(2 * _BLOCK)


def compress(archive: bytes) -> bytes:
    """Return an archive as the gzip file that is uploaded, without a name or time in it."""
    return gzip.compress(archive, mtime=0)


def sha256(data: bytes) -> str:
    """Return the digest that registries and engines name bytes by."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _Member(tarfile.TarInfo):
    """A member whose headers are small: `tarfile` reads them whole, whatever they say they have."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Self:
        """Read a header.

        Raises:
            ReadError: It is one of a header that is too long, or of a file with holes.
        """
        made = super().frombuf(buf, encoding, errors)
        is_header = made.type in _HEADERS and made.size > _LONGEST_HEADER
        if is_header or made.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(f"a header of type {made.type!r} and {made.size} bytes")
        return made


def extract(archive: BinaryIO, path: str, target: BinaryIO, *, where: str) -> None:
    """Write one file of a layer, compressed or not, to another file.

    Raises:
        NotFoundError: The layer has no such file.
        IntegrityError: It is not an archive, or ends early.
    """
    try:
        with tarfile.open(fileobj=archive, mode="r|*", tarinfo=_Member) as layer:
            for member in layer:
                layer.members.clear()  # type: ignore[attr-defined]  # it keeps them all
                source = _content(layer, member, path)
                if source is not None:
                    shutil.copyfileobj(source, target, 1 << 20)
                    return
    except _BROKEN as error:
        raise IntegrityError(f"the flow layer cannot be read ({error})", where=where) from error
    raise NotFoundError(f"the layer does not hold {path}", where=where)


def _content(layer: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> BinaryIO | None:
    """Return a member opened for reading if it is the file wanted; engines give its name only."""
    name = member.name.removeprefix("./").strip("/")
    if not member.isfile() or name not in (path.strip("/"), PurePosixPath(path).name):
        return None
    return cast("BinaryIO", layer.extractfile(member))


def _folders(files: Iterable[str]) -> set[str]:
    parents = {parent for path in files for parent in PurePosixPath(path).parents}
    return {str(parent) for parent in parents if parent.parent != parent}


def _entry(path: str, kind: tuple[bytes, int], data: bytes = b"", link: str = "") -> bytes:
    return _header(path.lstrip("/"), kind, len(data), link) + data + bytes(-len(data) % _BLOCK)


def _header(name: str, kind: tuple[bytes, int], size: int, link: str) -> bytes:
    """Return a ustar header whose fields have the widths that engines give them."""
    flag, mode = kind
    prefix, short = _split(name)
    fields = [short, b"%07o" % mode, b"0000000", b"0000000", b"%011o" % size, b"0" * 11, _BLANK]
    rest = [flag, link.encode(), b"ustar\x0000", b"root", b"root", b"0000000", b"0000000", prefix]
    unsummed = _HEADER.pack(*fields, *rest)
    fields[-1] = b"%06o\0 " % sum(unsummed)
    return _HEADER.pack(*fields, *rest)


def _split(name: str) -> tuple[bytes, bytes]:
    """Return a name's folders, only as far as they do not fit beside it, and the rest."""
    raw = name.encode()
    if len(raw) <= _LONGEST_NAME and name.isascii():
        return b"", raw
    end = min(len(raw.rstrip(b"/")), _LONGEST_PREFIX + 1)
    at = raw.rfind(b"/", 0, end)
    if at <= 0 or len(raw) - at - 1 > _LONGEST_NAME or not name.isascii():
        raise ConfigError("no path for an image's layer", where=name, hint="use a shorter folder")
    return raw[:at], raw[at + 1 :]
