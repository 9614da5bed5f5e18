"""fsspec: read trees of a store as a file system, `casflow://[store!]name[@ref]/path`.

Owns how paths name files of trees. Invariant: it is read-only, and all that it shows of one
reference comes from one listing.
"""

from __future__ import annotations

import posixpath
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from fsspec.spec import AbstractFileSystem

import casflow
from casflow.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casflow.store import Entry

_EXPIRY = 60.0
_MAX_LINKS = 40


class CasflowFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Trees as a read-only file system.

    `name@ref` is what every command takes: a version, a tag, a digest; the newest version without
    one. It is written percent-encoded: a `/` in a name as `%2F`, and where another program takes
    what stands before an `@` for a user (Airflow does), the `@` as `%40`.

    Args:
        store: URL of the store; the setting `store` when None.
        listings_expiry_time: Seconds for which a name that can move is not resolved again.
        **options: Options of the store (`endpoint_url`, ...), and fsspec's own.
    """

    protocol = "casflow"
    root_marker = ""

    def __init__(
        self,
        store: str | None = None,
        *,
        listings_expiry_time: float = _EXPIRY,
        store_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._store = casflow.Store(store, **(store_options or {}))
        self._expiry = listings_expiry_time
        self._trees: dict[str, tuple[float, str, dict[str, Entry | None]]] = {}

    @classmethod
    def _strip_protocol(cls, path: str | list[str]) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        rest = _split_store(path.removeprefix("casflow://"))[1]
        return rest.strip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        store = _split_store(path.removeprefix("casflow://"))[0]
        return {} if store is None else {"store": store}

    def unstrip_protocol(self, name: str) -> str:
        """Return the whole URL of a path."""
        return f"casflow://{self._strip_protocol(name)}"

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Describe a file or folder: `name`, `type`, `size` in bytes, `digest`, `tree`.

        Raises:
            FileNotFoundError: The store has no such tree, or the tree no such path.
        """
        path = self._strip_protocol(path)
        if not path:
            return {"name": "", "type": "directory", "size": 0}
        ref, inside = _split_tree(path)
        tree, entries = self._tree(ref)
        entry = _follow(entries, inside, path)
        return _info(path, tree, entry)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002
        """List a folder; the names of the store's trees at the root.

        Raises:
            FileNotFoundError: There is no such tree or path.
        """
        path = self._strip_protocol(path)
        found: list[dict[str, Any]]
        if not path:
            names = [name.replace("%", "%25").replace("/", "%2F") for name in self._store.names()]
            found = [{"name": name, "type": "directory", "size": 0} for name in names]
        else:
            found = list(self._children(path))
        return found if detail else [each["name"] for each in found]

    def ukey(self, path: str) -> str:
        """Return the digest of a file's content."""
        return str(self.info(path)["digest"])

    def checksum(self, path: str) -> int:
        """Return the digest of a file's content as a number."""
        return int(self.ukey(path).partition(":")[2], 16)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget which versions names stood for, of one tree or of all."""
        if path is None:
            self._trees.clear()
        else:
            self._trees.pop(self._strip_protocol(path).partition("/")[0], None)
        super().invalidate_cache(path)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        if mode != "rb":
            raise OSError(30, "a casflow store is read-only here: push a new version", path)
        path = self._strip_protocol(path)
        ref, inside = _split_tree(path)
        tree, entries = self._tree(ref)
        entry = _follow(entries, inside, path)
        if entry is None:
            raise IsADirectoryError(path)
        return self._store.open_file(tree, entry.path)

    def _children(self, path: str) -> Iterator[dict[str, Any]]:
        ref, inside = _split_tree(path)
        tree, entries = self._tree(ref)
        entry = _follow(entries, inside, path)
        if entry is not None:
            yield _info(path, tree, entry)
            return
        folder = f"{inside}/" if inside else ""
        for each in entries:
            if each and each.startswith(folder) and "/" not in each[len(folder) :]:
                name = f"{ref}/{each}"
                try:
                    yield _info(name, tree, _follow(entries, each, name))
                except FileNotFoundError:  # a link that leads nowhere
                    yield {"name": name, "type": "link", "size": 0, "tree": tree}

    def _tree(self, ref: str) -> tuple[str, dict[str, Entry | None]]:
        """Return the digest that a reference stands for, and its paths: None for a folder."""
        known = self._trees.get(ref)
        if known is not None and time.monotonic() < known[0]:
            return known[1], known[2]
        try:
            tree = self._store.digest(unquote(ref))
            listing = self._store.listing(tree)
        except NotFoundError as error:
            raise FileNotFoundError(str(error)) from error
        entries: dict[str, Entry | None] = {"": None}
        for entry in listing.entries:
            for folder in _parents(entry.path):
                entries.setdefault(folder, None)
            entries[entry.path] = entry
        self._trees[ref] = (time.monotonic() + self._expiry, tree, entries)
        return tree, entries


def _split_store(path: str) -> tuple[str | None, str]:
    store, mark, rest = path.partition("!")
    if mark and ("://" in store or store.startswith("/")):
        return store, rest
    return None, path


def _split_tree(path: str) -> tuple[str, str]:
    ref, _, inside = path.partition("/")
    return ref, inside


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _follow(entries: dict[str, Entry | None], inside: str, path: str) -> Entry | None:
    """Return what a path leads to, through symbolic links; None for a folder."""
    for _ in range(_MAX_LINKS):
        if inside not in entries:
            break
        entry = entries[inside]
        if entry is None or entry.kind != "symlink":
            return entry
        target = posixpath.join(posixpath.dirname(inside), entry.target or "")
        inside = posixpath.normpath(target).removeprefix(".")
    raise FileNotFoundError(path)


def _info(path: str, tree: str, entry: Entry | None) -> dict[str, Any]:
    if entry is None:
        return {"name": path, "type": "directory", "size": 0, "tree": tree}
    found = {"name": path, "type": "file", "size": entry.size, "digest": entry.digest}
    return {**found, "tree": tree, "executable": entry.executable}
