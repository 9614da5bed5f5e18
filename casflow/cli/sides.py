"""The two things that a comparison is about, and the source that stands behind them.

Owns the way from a ref, a script or a folder to bytes. Invariant: a source is shown only if it has
the digest that the version was registered with, so that no line of another state is taken for it.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from casflow.cli.flows import choose, read_flows
from casflow.cli.versions import get_version
from casflow.digests import digest_of
from casflow.errors import ConfigError
from casflow.reference import PICKLE, TREE
from casflow.serialize import serialize
from casflow.storage import load
from casflow.trees.scan import scan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.registry import Version
    from casflow.store import Listing, Store

_MOST_LINES = 12  # of an excerpt
_MOST_BYTES = 1 << 20  # of a source that is read for an excerpt


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two things that are compared.

    Attributes:
        name: What it was called.
        data: Its bytes.
        media_type: Their kind.
        source_map: Files and lines of a pickle.
        listing: The files of a tree.
        files: Digests of the source files of a pickle, by the names that the map has for them.
        folder: Where these files were last seen.
    """

    name: str
    data: bytes
    media_type: str
    source_map: bytes | None = None
    listing: Listing | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=Path)

    @property
    def digest(self) -> str:
        """Digest of its bytes."""
        return digest_of(self.data)

    def excerpt(self, file: str, line: int) -> list[tuple[int, str]]:
        """Return the numbered lines of what begins at a line of a file; none without its source."""
        text = self._source(file)
        if text is None or line < 1:
            return []
        lines = text.splitlines(keepends=True)[line - 1 :]
        try:
            block = inspect.getblock(lines)[:_MOST_LINES]
        except (IndentationError, SyntaxError):
            return []
        return [(line + at, each.rstrip()) for at, each in enumerate(block)]

    def _source(self, file: str) -> str | None:
        digest = self.files.get(file)
        if digest is None:
            return None
        for path in (self.folder / file, self.folder / Path(file).name):
            try:
                if path.stat().st_size > _MOST_BYTES:
                    continue
                data = path.read_bytes()
            except (OSError, ValueError):
                continue
            if digest_of(data) == digest:
                return data.decode(errors="replace")
        return None


def side_of(text: str, name: str | None, project: str | None) -> Side:
    """Return the flow of a script, or the version that a ref means.

    Raises:
        CasflowError: There is none, or it cannot be read.
    """
    if text.endswith(".py"):
        return _from_file(Path(text), name)
    return stored_side(text, get_version(project, text))


def stored_side(name: str, version: Version) -> Side:
    """Return a registered version.

    Raises:
        CasflowError: It cannot be read.
    """
    storage = load(version.storage)
    reference = storage.reference(version.flow)
    if reference.media_type == TREE:
        listing = storage.get_listing(version.flow)
        return Side(name, listing.root, TREE, listing=listing)
    data = storage.get_bytes(version.flow)
    if reference.media_type != PICKLE:
        return Side(name, data, reference.media_type)
    source_map = storage.get_attachments(version.flow).get("source_map")
    files = reference.environment.get("files")
    known = files if isinstance(files, dict) else {}
    return Side(name, data, PICKLE, source_map, files=known)


def listing_of(text: str, store: Store) -> Listing:
    """Return the listing of a folder, or of the version of a tree that a ref means."""
    return scan(Path(text)) if Path(text).is_dir() else store.listing(text)


def _from_file(path: Path, name: str | None) -> Side:
    flows = choose(read_flows(path, None), [] if name is None else [name], path)
    if len(flows) > 1:
        raise ConfigError("several flows are in the file", where=path, hint="choose with --name")
    made = serialize(flows[0])
    files = {path.name: digest_of(path.read_bytes())}
    source_map = made.attachments.get("source_map")
    return Side(str(path), made.data, PICKLE, source_map, files=files, folder=path.parent)
