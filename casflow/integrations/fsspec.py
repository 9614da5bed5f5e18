"""fsspec: read trees of a store as a file system, `casflow://[store!]name[@ref]/path`.

Owns how paths name files of trees. Invariant: it is read-only, and all that it shows of one
reference comes from one listing.
"""

from __future__ import annotations

import posixpath
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from fsspec.spec import AbstractFileSystem

import casflow
from casflow.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casflow.store import Listing

_EXPIRY = 60.0


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
        self._trees: dict[str, tuple[float, str, Listing]] = {}

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
        return self._describe(path)[1] if path else _folder("")

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002
        """List a folder; the names of the store's trees at the root.

        Raises:
            FileNotFoundError: There is no such tree or path.
        """
        found = list(self._children(self._strip_protocol(path)))
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
        inside, found = self._describe(self._strip_protocol(path))
        if found["type"] == "directory":
            raise IsADirectoryError(path)
        return self._store.open_file(found["tree"], inside)

    def _describe(self, path: str) -> tuple[str, dict[str, Any]]:
        """Return where in its tree a path leads to, through links, and what is there."""
        ref, _, inside = path.partition("/")
        tree, listing = self._tree(ref)
        try:
            inside = listing.locate(inside)
        except NotFoundError as error:
            raise FileNotFoundError(path) from error
        entry = listing.by_path.get(inside)
        if entry is None:
            return inside, {**_folder(path), "tree": tree}
        found = {"name": path, "type": "file", "size": entry.size, "digest": entry.digest}
        return inside, {**found, "tree": tree, "executable": entry.executable}

    def _children(self, path: str) -> Iterator[dict[str, Any]]:
        if not path:
            for name in self._store.names():
                yield _folder(name.replace("%", "%25").replace("/", "%2F"))
            return
        inside, found = self._describe(path)
        if found["type"] != "directory":
            yield found
            return
        tree, listing = self._tree(path.partition("/")[0])
        for each in listing.folders[inside]:
            name = f"{path}/{posixpath.basename(each)}"
            with suppress(FileNotFoundError):
                shown = self._describe(name)[1]
                if shown["type"] == "file" or each in listing.folders:
                    yield shown
                    continue
            # A link to nowhere, or to a folder: whoever walks would go round for ever.
            yield {"name": name, "type": "link", "size": 0, "tree": tree}

    def _tree(self, ref: str) -> tuple[str, Listing]:
        """Return the digest that a reference stands for, and its listing."""
        known = self._trees.get(ref)
        if known is not None and time.monotonic() < known[0]:
            return known[1], known[2]
        try:
            tree = self._store.digest(unquote(ref))
            listing = self._store.listing(tree)
        except NotFoundError as error:
            raise FileNotFoundError(str(error)) from error
        self._trees[ref] = (time.monotonic() + self._expiry, tree, listing)
        return tree, listing


def _folder(path: str) -> dict[str, Any]:
    return {"name": path, "type": "directory", "size": 0}


def _split_store(path: str) -> tuple[str | None, str]:
    store, mark, rest = path.partition("!")
    if mark and ("://" in store or store.startswith("/")):
        return store, rest
    return None, path
