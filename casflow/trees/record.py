"""Records: what a checked-out tree looked like when its bytes were verified.

Owns the file beside each folder of the cache and the check against it. Invariant: a folder is
called unchanged only when each file, link and folder in it has the inode, size and times that it
had when its bytes were hashed; what differs is hashed again, and nothing may be there that the
listing does not name. So a check costs one `stat` per entry, as it does in git's index.
"""

from __future__ import annotations

import json
import os
from array import array
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow.digests import PREFIX
from casflow.errors import CasflowError
from casflow.trees.listing import FILE, SYMLINK, Entry, Listing
from casflow.trees.scan import read_file

if TYPE_CHECKING:
    from casflow.cache.folders import Folders

_FORMAT = 1
_FIELDS = 4  # numbers for each entry
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one folder.

    Attributes:
        boot: Identity of the machine's boot during which all was hashed last.
        names: Paths of all entries and folders, entries first.
        state: Numbers that change when one of them does, in the same order.
        listing: The canonical listing.
    """

    boot: str
    names: list[str]
    state: array[int]
    listing: bytes

    def entries(self) -> Listing:
        """Return the listing.

        Raises:
            ValueError: It is damaged.
        """
        return _parsed(self.listing)


@lru_cache(maxsize=2)
def _parsed(data: bytes) -> Listing:
    try:
        return Listing(_entry(line) for line in data.splitlines())
    except (TypeError, KeyError, AttributeError, RecursionError, CasflowError) as error:
        raise ValueError(f"damaged record ({error!r})") from error


def _entry(line: bytes) -> Entry:
    form = json.loads(line)
    if form.pop("kind") == SYMLINK:
        return Entry(form["path"], SYMLINK, target=form["target"])
    return Entry(**form)


def boot_id() -> str:
    """Return what changes with each boot of this machine, or nothing where it is not known."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def write_record(folders: Folders, name: str, listing: Listing) -> None:
    """Record a folder as it is; its bytes have just been verified."""
    root = str(folders.path(name))
    names = [entry.path for entry in listing] + folders_of(listing)
    state = _state(root, names, len(listing))
    data = listing.to_bytes()
    joined = "\0".join(names).encode()
    head = {
        "format": _FORMAT,
        "boot": boot_id(),
        "bytes": listing.size,
        "names": len(joined),
        "count": len(names),
    }
    content = b"".join((json.dumps(head).encode(), b"\n", joined, state.tobytes(), data))
    path = folders.record(name)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    temporary.write_bytes(content)
    temporary.replace(path)


def folders_of(listing: Listing) -> list[str]:
    """Return the paths of all folders of a tree, the top first, each before what is in it."""
    found = {"."}
    for entry in listing:
        parent = entry.path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return sorted(found)


def read_record(folders: Folders, name: str) -> Record | None:
    """Return the record of a folder, or None when there is none that can be read."""
    try:
        data = folders.record(name).read_bytes()
        line, _, rest = data.partition(b"\n")
        head: dict[str, Any] = json.loads(line)
        if head["format"] != _FORMAT or not isinstance(head["boot"], str):
            return None
        size, count = int(head["names"]), int(head["count"])
        names = rest[:size].decode().split("\0")
        state = array("Q")
        end = size + count * _FIELDS * state.itemsize
        state.frombytes(rest[size:end])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    if len(names) != count or len(state) != count * _FIELDS:
        return None
    return Record(head["boot"], names, state, rest[end:])


def is_unchanged(folders: Folders, name: str, record: Record) -> bool:
    """Tell whether nothing in a folder has changed since it was recorded, by `stat` alone."""
    count = record.listing.count(b"\n")
    try:
        return _state(str(folders.path(name)), record.names, count) == record.state
    except OSError:
        return False


def _state(root: str, names: list[str], entries: int) -> array[int]:
    """Return inode, size and times of entries, and inode and time of folders."""
    state: array[int] = array("Q")
    add = state.extend
    descriptor = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for position, name in enumerate(names):
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if position < entries:
                add((found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
            else:
                add((found.st_ino, found.st_mode, found.st_mtime_ns, found.st_dev))
    finally:
        os.close(descriptor)
    return state


def is_intact(root: Path, listing: Listing) -> bool:
    """Tell whether a folder holds exactly what a listing says, by reading all of it."""
    found = set()
    try:
        for folder, subfolders, files in os.walk(root, onerror=_raise):
            linked = [each for each in subfolders if os.path.islink(f"{folder}/{each}")]  # noqa: PTH114
            below = folder[len(str(root)) :].strip("/")
            found |= {f"{below}/{each}" if below else each for each in (*files, *linked)}
        return found == set(listing.by_path) and all(_holds(root, entry) for entry in listing)
    except (OSError, CasflowError):
        return False


def _raise(error: OSError) -> None:
    raise error


def _holds(root: Path, entry: Entry) -> bool:
    path = f"{root}/{entry.path}"
    if entry.kind != FILE:
        return os.path.islink(path) and os.readlink(path) == entry.target  # noqa: PTH114, PTH115
    status, digest = read_file(path)
    return digest == entry.digest and bool(status.st_mode & 0o100) == entry.executable


def named_tree(listing: Listing, name: str) -> bool:
    """Tell whether a listing is that of the tree whose digest has these digits."""
    return listing.digest == PREFIX + name
