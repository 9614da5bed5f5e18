"""Listings: what a tree consists of, and the digest that follows from it.

Owns the canonical form of a listing (one JSON line per entry, sorted by the UTF-8 bytes of the
paths), the root document that names it, and the rules for paths. Invariant: a `Listing` was
checked when it was made, wherever its entries came from: no path leads out of the tree, none is
there twice, none lies below a file or link, and every link leads to a place inside; so whoever
writes a listing's entries below a folder writes nothing outside it.

The digest of a tree is that of its root document, a small JSON object with the digest of the
canonical listing. How the listing is compressed and how contents are packed is not part of it.
"""

from __future__ import annotations

import json
import posixpath
import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from casflow.digests import digest_of, parse
from casflow.errors import CasflowError, ConfigError, IntegrityError, NotFoundError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FORMAT = 1
FILE = "file"
SYMLINK = "symlink"
MAX_ENTRIES = 10_000_000
MAX_ROOT = 4096  # bytes of a root document
_MAX_PATH = 4000  # bytes; systems take 4096 with the folder before it
_MAX_PART = 255  # bytes, of one name in a path
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
_WINDOWS = re.compile(r'[<>:"|?*\\]|[. ]$')
_PORTS = {f"{port}{number}" for port in ("com", "lpt") for number in "123456789"}
_DEVICES = {"con", "prn", "aux", "nul", *_PORTS}
_MAX_SIZE = 2**63 - 1
_MAX_LINKS = 40  # that one path may lead through, as on Linux


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or symbolic link of a tree.

    Attributes:
        path: Where it is, with `/` between its parts.
        kind: `file` or `symlink`.
        executable: Whether a file may be executed.
        size: Bytes of a file.
        digest: Digest of a file's content; empty for a link.
        target: Where a link leads, relative to its own folder; empty for a file.
    """

    path: str
    kind: str = FILE
    executable: bool = False
    size: int = 0
    digest: str = ""
    target: str = ""

    def to_line(self) -> str:
        """Return the entry's line in a canonical listing."""
        path = json.dumps(self.path, ensure_ascii=False)
        if self.kind == SYMLINK:
            target = json.dumps(self.target, ensure_ascii=False)
            return f'{{"kind":"symlink","path":{path},"target":{target}}}\n'
        executable = "true" if self.executable else "false"
        return (
            f'{{"digest":"{self.digest}","executable":{executable},"kind":"file","path":{path},'
            f'"size":{self.size}}}\n'
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, as in the listing."""
        form: dict[str, Any] = json.loads(self.to_line())
        return form


class Listing:
    """The entries of a tree, sorted, checked, and named by a digest.

    Args:
        entries: The entries, in any order.

    Raises:
        ConfigError: They cannot stand together in one folder; the message names the path.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(sorted(entries, key=_order))
        check_entries(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Listing) and self.entries == other.entries

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<Listing: {len(self)} entries, {self.digest}>"

    @cached_property
    def by_path(self) -> dict[str, Entry]:
        """The entries by their paths."""
        return {entry.path: entry for entry in self.entries}

    def get(self, path: str) -> Entry:
        """Return the entry at a path.

        Raises:
            NotFoundError: There is none.
        """
        try:
            return self.by_path[path]
        except KeyError:
            raise self._no_file(path) from None

    def _no_file(self, path: str) -> NotFoundError:
        hint = did_you_mean(path, self.by_path)
        return NotFoundError("no such file in the tree", where=path, hint=hint)

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """The paths of what is in each folder, by the folder's path; the top's is empty."""
        found: dict[str, dict[str, None]] = {"": {}}
        for entry in self.entries:
            path = entry.path
            while path and path not in found.setdefault(posixpath.dirname(path), {}):
                found[posixpath.dirname(path)][path] = None
                path = posixpath.dirname(path)
        return {folder: list(paths) for folder, paths in found.items()}

    def locate(self, path: str) -> str:
        """Return the path of the file or folder that a path leads to, through links of the tree.

        Raises:
            NotFoundError: It leads to neither.
        """
        given, seen = path, 0
        while path not in self.folders:
            entry = self.by_path.get(path)
            if entry is not None and entry.kind == FILE:
                break
            link = next((each for each in _prefixes(path) if each in self.by_path), None)
            seen += 1
            if link is None or not self.by_path[link].target or seen > _MAX_LINKS:
                raise self._no_file(given)
            target = posixpath.join(posixpath.dirname(link), self.by_path[link].target)
            path = posixpath.normpath(posixpath.join(target, path[len(link) :].lstrip("/")))
            path = "" if path == "." else path
        return path

    def follow(self, path: str) -> Entry:
        """Return the file that a path leads to, through links of the tree.

        Raises:
            NotFoundError: It leads to no file.
        """
        found = self.by_path.get(self.locate(path))
        if found is None:
            raise self._no_file(path)
        return found

    @cached_property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.entries)

    def to_bytes(self) -> bytes:
        """Return the canonical form."""
        return "".join(entry.to_line() for entry in self.entries).encode()

    @cached_property
    def root(self) -> bytes:
        """The root document, whose digest is the tree's."""
        data = self.to_bytes()
        form = {
            "bytes": self.size,
            "entries": len(self.entries),
            "format": FORMAT,
            "listing": digest_of(data),
            "listing_size": len(data),
        }
        return json.dumps(form, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    @cached_property
    def digest(self) -> str:
        """Digest of the tree."""
        return digest_of(self.root)


@dataclass(frozen=True, slots=True)
class Root:
    """What a root document says.

    Attributes:
        entries: How many entries the listing has.
        size: Bytes of all files together.
        listing: Digest of the canonical listing.
        listing_size: Bytes of the canonical listing.
    """

    entries: int
    size: int
    listing: str
    listing_size: int

    @classmethod
    def from_bytes(cls, data: bytes, *, where: object) -> Root:
        """Read a root document.

        Raises:
            IntegrityError: It is none, or one of a format that is not known here.
        """
        try:
            return cls._checked(data)
        except (ValueError, TypeError, KeyError, RecursionError, CasflowError) as error:
            raise IntegrityError(f"not a tree ({error!r})", where=where) from error

    @classmethod
    def _checked(cls, data: bytes) -> Root:
        form = json.loads(data) if len(data) <= MAX_ROOT else {}
        if form["format"] != FORMAT:
            raise ValueError(f"format {form['format']!r}")
        return cls(
            _count(form["entries"], MAX_ENTRIES),
            _count(form["bytes"], _MAX_SIZE),
            parse(form["listing"]),
            _count(form["listing_size"], MAX_ENTRIES * 1000),
        )


def checked_listing(entries: Iterable[Entry], root: Root, *, where: object) -> Listing:
    """Return the listing that a root document names.

    Raises:
        IntegrityError: The entries are not those, or cannot stand together in one folder.
    """
    try:
        listing = Listing(entries)
    except CasflowError as error:
        what = f"damaged listing ({error.what}: {error.where})"
        raise IntegrityError(what, where=where) from error
    data = listing.to_bytes()
    actual = digest_of(data)
    if actual != root.listing:
        raise IntegrityError(
            "listing does not match its digest", where=where, expected=root.listing, actual=actual
        )
    if (len(listing), listing.size, len(data)) != (root.entries, root.size, root.listing_size):
        raise IntegrityError("a tree's sizes do not match its listing", where=where)
    return listing


def _count(value: object, limit: int) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError(f"{value!r} is no count up to {limit}")
    return value


def _prefixes(path: str) -> Iterator[str]:
    """Yield a path and the folders above it, the top one first."""
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts) + 1))


def _order(entry: Entry) -> bytes:
    return entry.path.encode("utf-8", "surrogatepass")


# ---- rules for paths -----------------------------------------------------------------------


def check_entries(entries: tuple[Entry, ...]) -> None:
    """Check that sorted entries can be written below a folder, and nowhere else.

    Raises:
        ConfigError: They cannot; the message names the path.
    """
    folders: set[str] = set()
    taken: dict[str, str] = {}  # paths and folders by the form in which they could collide
    for entry in entries:
        check_path(entry.path)
        _check_fields(entry)
        _claim(taken, entry.path, entry.path)
        parent = entry.path.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            _claim(taken, parent, entry.path)
            parent = parent.rpartition("/")[0]
    for entry in entries:
        if entry.kind == SYMLINK:
            _check_target(entry)


def _claim(taken: dict[str, str], path: str, whole: str) -> None:
    form = path if path.isascii() and path.islower() else _folded(path)
    other = taken.get(form)
    if other is None:
        taken[form] = whole
        return
    if other == path or other.startswith(f"{path}/"):
        raise ConfigError("a path that is there twice, or lies below a file", where=whole)
    hint = "rename one of them: macOS and Windows cannot hold both"
    where = f"{other} and {whole}"
    raise ConfigError("two names that differ only in case or form", where=where, hint=hint)


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def check_path(path: str) -> None:
    """Check that a path leads to a place inside a folder, on every system.

    Raises:
        ConfigError: It does not.
    """
    if not isinstance(path, str) or not path:
        raise ConfigError("a path without a name", where=repr(path))
    try:
        encoded = path.encode()
    except UnicodeEncodeError as error:
        raise ConfigError("a name that is not UTF-8", where=ascii(path)) from error
    if len(encoded) > _MAX_PATH:
        raise ConfigError("a path that is too long", where=f"{path[:80]}…")
    if _UNSAFE.search(path):
        raise ConfigError("a name with a control character", where=ascii(path))
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise ConfigError("a path that leads out of the tree or is not clean", where=path)
        if len(part) > _MAX_PART // 4 and len(part.encode()) > _MAX_PART:
            raise ConfigError("a name that is too long", where=f"{path[:80]}…")
        if _WINDOWS.search(part) or part.partition(".")[0].lower() in _DEVICES:
            hint = "rename it, or leave it out by .casflowignore"
            raise ConfigError("a name that Windows cannot hold", where=path, hint=hint)


def _check_fields(entry: Entry) -> None:
    if entry.kind == SYMLINK:
        fine = not (entry.executable or entry.size or entry.digest) and bool(entry.target)
    else:
        fine = entry.kind == FILE and not entry.target and 0 <= entry.size <= _MAX_SIZE
        parse(entry.digest)
    if not fine or type(entry.executable) is not bool or type(entry.size) is not int:
        raise ConfigError("an entry that is neither a file nor a link", where=entry.path)


def _check_target(entry: Entry) -> None:
    """Check where a link leads: by its text alone it must stay inside."""
    target = entry.target
    try:
        too_long = len(target.encode()) > _MAX_PATH
    except UnicodeEncodeError as error:
        raise ConfigError("a link whose target is not UTF-8", where=entry.path) from error
    if too_long or _UNSAFE.search(target) or "\\" in target:
        raise ConfigError("a link whose target is no clean path", where=entry.path)
    if target.startswith("/"):
        raise ConfigError("a link that leads out of the tree", where=f"{entry.path} -> {target}")
    # Only a leading `..` is told by the text alone: `link/..` leads to where the link's parent is.
    depth, descended = entry.path.count("/"), False
    for part in target.split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            descended = True
            continue
        if depth < 0 or (part == ".." and descended):
            where = f"{entry.path} -> {target}"
            raise ConfigError("a link that leads out of the tree", where=where)
