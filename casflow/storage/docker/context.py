"""What an engine is sent to build from: files by name.

Owns a build context's archive and its digest. Invariant: the digest says everything that can
change the image and nothing else: names, modes and content, but no time and no owner.
"""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from casflow.digests import digest_of, digest_of_file
from casflow.errors import os_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_MEMORY = 8 << 20  # bytes of a context that are kept in memory, not in a file
_EXECUTABLE, _PLAIN = 0o755, 0o644
DOCKERFILE = ".casflow/Dockerfile"

Source = bytes | Path


@dataclass(slots=True)
class Context:
    """Files by their name in the context; names have forward slashes on every system."""

    files: dict[str, Source] = field(default_factory=dict)

    def add(self, name: str, source: Source) -> None:
        """Add a file, or a folder with all that is in it."""
        if isinstance(source, Path) and source.is_dir():
            for path in sorted(source.rglob("*")):
                if path.is_file():
                    self.files[f"{name}/{path.relative_to(source).as_posix()}"] = path
        else:
            self.files[name] = source

    def add_tree(self, root: Path, ignored: list[str]) -> None:
        """Add what is below a folder, but for what the patterns of a `.dockerignore` leave out."""
        from docker.utils import exclude_paths

        for name in sorted(exclude_paths(str(root), ignored)):
            if (root / name).is_file():
                self.files[name.replace(os.sep, "/")] = root / name

    def digest(self) -> str:
        """Return the digest of all names, modes and contents."""
        listed = [(name, _mode(source), _digest(source)) for name, source in self._sorted()]
        return digest_of(json.dumps(listed).encode())

    def open(self) -> BinaryIO:
        """Return the archive, opened at its start; closing it removes it."""
        file = cast("BinaryIO", tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name, source in self._sorted():
                _add(archive, name, source)
        file.seek(0)
        return file

    def _sorted(self) -> Iterator[tuple[str, Source]]:
        return iter(sorted(self.files.items()))


def _add(archive: tarfile.TarFile, name: str, source: Source) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = _mode(source)
    if isinstance(source, bytes):
        entry.size = len(source)
        archive.addfile(entry, BytesIO(source))
        return
    with os_errors(source), source.open("rb") as file:
        entry.size = os.fstat(file.fileno()).st_size
        archive.addfile(entry, file)


def _mode(source: Source) -> int:
    if isinstance(source, bytes):
        return _PLAIN
    with os_errors(source):
        return _EXECUTABLE if source.stat().st_mode & 0o100 else _PLAIN


def _digest(source: Source) -> str:
    if isinstance(source, bytes):
        return digest_of(source)
    with os_errors(source):
        return digest_of_file(source)
