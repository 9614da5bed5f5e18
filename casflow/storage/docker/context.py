"""What an engine is sent to build from: files, folders and links by name.

Owns a build context's archive and its digest. Invariant: the digest says everything that can
change the image and nothing else: names, kinds, permissions, content and targets of links, but no
time and no owner. A tree goes in as it is: links stay links, empty folders stay.
"""

from __future__ import annotations

import json
import os
import stat
import tarfile
import tempfile
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from casflow.digests import digest_of, digest_of_file
from casflow.errors import ConfigError, os_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_MEMORY = 8 << 20  # bytes of a context that are kept in memory, not in a file
_PLAIN = 0o644
DOCKERFILE = ".casflow/Dockerfile"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, a folder or a symbolic link.

    Attributes:
        mode: Its kind and permissions, as `lstat` gives them.
        source: Bytes of a file or where they are; None for a folder.
        target: What a symbolic link names.
    """

    mode: int
    source: bytes | Path | None = None
    target: str = ""

    @classmethod
    def of(cls, path: Path) -> Entry:
        """Return what is at a path.

        Raises:
            ConfigError: It is a device, a socket or a pipe.
        """
        with os_errors(path):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                return cls(mode, target=str(path.readlink()))
        if stat.S_ISDIR(mode):
            return cls(mode)
        if stat.S_ISREG(mode):
            return cls(mode, path)
        hint = "leave it out by a .dockerignore"
        raise ConfigError("neither a file nor a folder nor a link", where=path, hint=hint)

    def read(self) -> bytes:
        """Return the bytes of a file."""
        if isinstance(self.source, Path):
            with os_errors(self.source):
                return self.source.read_bytes()
        return self.source or b""

    def described(self) -> list[object]:
        """Return all that says whether another entry is the same."""
        if isinstance(self.source, Path):
            with os_errors(self.source):
                return [self.mode, digest_of_file(self.source)]
        return [self.mode, self.target if self.source is None else digest_of(self.source)]


def walk(root: Path) -> Iterator[tuple[str, Entry]]:
    """Yield all that is below a folder, by name with forward slashes; links are not followed."""
    with os_errors(root):
        paths = sorted(root.iterdir())
    for path in paths:
        entry = Entry.of(path)
        yield path.name, entry
        if stat.S_ISDIR(entry.mode):
            for name, inner in walk(path):
                yield f"{path.name}/{name}", inner


@dataclass(slots=True)
class Context:
    """Entries by their name in the context; names have forward slashes on every system."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def add_bytes(self, name: str, data: bytes) -> None:
        """Add a file."""
        self.entries[name] = Entry(stat.S_IFREG | _PLAIN, data)

    def add(self, name: str, source: Path) -> None:
        """Add a file, or a folder with all that is in it; a link here is what it names."""
        with os_errors(source):
            source = source.resolve(strict=True)
        self.entries[name] = entry = Entry.of(source)
        if stat.S_ISDIR(entry.mode):
            self.entries |= {f"{name}/{inner}": each for inner, each in walk(source)}

    def add_tree(self, root: Path, ignored: list[str], dockerfile: str) -> None:
        """Add what `docker build` would send of a folder.

        Args:
            root: The folder.
            ignored: Patterns of a `.dockerignore`.
            dockerfile: Name of the Dockerfile, which is sent even if it is ignored.
        """
        from docker.utils import exclude_paths

        for name in sorted(exclude_paths(str(root), list(ignored), dockerfile=dockerfile)):
            self.entries[name.replace(os.sep, "/")] = Entry.of(root / name)

    def digest(self) -> str:
        """Return the digest of all names, modes and contents."""
        listed = [(name, *entry.described()) for name, entry in sorted(self.entries.items())]
        return digest_of(json.dumps(listed).encode())

    def open(self) -> BinaryIO:
        """Return the archive, opened at its start; closing it removes it."""
        file = cast("BinaryIO", tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name, entry in sorted(self.entries.items()):
                _add(archive, name, entry)
        file.seek(0)
        return file


def _add(archive: tarfile.TarFile, name: str, entry: Entry) -> None:
    header = tarfile.TarInfo(name)
    header.mode = stat.S_IMODE(entry.mode)
    if stat.S_ISDIR(entry.mode):
        header.type = tarfile.DIRTYPE
        archive.addfile(header)
    elif stat.S_ISLNK(entry.mode):
        header.type, header.linkname = tarfile.SYMTYPE, entry.target
        archive.addfile(header)
    elif isinstance(entry.source, Path):
        with os_errors(entry.source), entry.source.open("rb") as file:
            header.size = os.fstat(file.fileno()).st_size
            archive.addfile(header, file)
    else:
        data = entry.source or b""
        header.size = len(data)
        archive.addfile(header, BytesIO(data))
