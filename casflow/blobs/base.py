"""The blob store: bytes by key, as dumb as a backend can be.

Owns the seam that every backend implements (`BlobStore`) and what a key may look like. Invariant:
a store knows keys and bytes, never flows; nobody ever sees half an object; `create` has exactly
one winner. What keys mean is decided above, in `casflow.blobs.content`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from casflow.errors import ConfigError, ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


_UNCLEAN = re.compile(r"[\x00-\x1f\\]|(?:^|/)\.{0,2}(?:/|\Z)")


class ObjectInfo(NamedTuple):
    """One object of a store.

    Attributes:
        key: Its key.
        size: Its bytes.
        modified: Seconds since the epoch by the store's own clock.
        version: Another one after each writing of other bytes; empty where the store tells none.
    """

    key: str
    size: int
    modified: float
    version: str | int = ""


def check_key(key: str) -> str:
    """Return a key if it can name an object on every backend.

    Raises:
        ConfigError: It is empty, absolute, or has an empty, `.` or `..` part, a backslash or a
            control character.
    """
    if _UNCLEAN.search(key):
        raise ConfigError("not a key", where=repr(key), hint="write it as folder/name")
    return key


class BlobStore(ABC):
    """Bytes by key in one root: a folder, a bucket, a container.

    Every answer is fresh: no method may answer from a listing or another cache. A refused request
    is an `AccessError`, never "absent"; a failing service is an `UnavailableError`.
    """

    url: str
    """Where the root is, for messages; holds no credential."""

    parallel: int = 16
    """Requests that are worth having under way at once."""

    creates_once: bool = False
    """Whether `create` is known to have one winner: by its nature, or because it was tried."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Return an object's bytes.

        Raises:
            NotFoundError: There is no such object.
        """

    @abstractmethod
    def copy_to(self, key: str, target: BinaryIO, size: int | None = None) -> None:
        """Write an object's bytes to a file, in pieces, in constant memory.

        Args:
            key: Its key.
            target: An empty file that can be sought in: the pieces of a big object may come in any
                order.
            size: Its bytes, if somebody knows: it need not be asked for them first.

        Raises:
            NotFoundError: There is no such object; nothing was written.
        """

    def get_range(self, key: str, start: int, size: int) -> bytes:
        """Return some bytes of an object, fewer where it ends before; most backends read no more.

        Raises:
            NotFoundError: There is no such object.
        """
        return self.get(key)[start : start + size]

    @abstractmethod
    def find(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None when there is none."""

    @abstractmethod
    def create(self, key: str, data: bytes | Path) -> None:
        """Write an object that must not exist yet: whole or not at all, and one winner only.

        Args:
            key: Its key.
            data: Its bytes, or the file to stream them from.

        Raises:
            ConflictError: There is one already.
        """

    @abstractmethod
    def put(self, key: str, data: bytes | Path) -> None:
        """Write an object, whole or not at all, over what may be there."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when there is none."""

    def create_empty(self, keys: Sequence[str]) -> None:
        """Create empty objects, as many as are missing of them; durable when it returns."""
        for key in keys:
            with suppress(ConflictError):
                self.create(key, b"")

    def creates_parts_once(self, key: str, data: bytes) -> bool:
        """Tell whether an object that is there also stops a creation in many parts.

        Args:
            key: Key of an object that is there.
            data: Its bytes; they are written again where the creation is not stopped.
        """
        del key, data
        return True  # there is no such creation

    def delete_many(self, keys: Sequence[str]) -> None:
        """Remove objects, at most 1000 of them; a backend that can does it in one request."""
        for key in keys:
            self.delete(key)

    def drop_leftovers(self, seconds: float) -> int:
        """Remove what writers that died left half-written, never an object.

        Args:
            seconds: Age from which nobody writes to it any more.

        Returns:
            How many were removed.
        """
        del seconds
        return 0

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, in the order of their keys.

        Raises:
            CasflowError: The listing could not be completed; what was yielded is not all.
        """

    def location(self, key: str) -> str:
        """Return an object's address, for messages."""
        return f"{self.url.rstrip('/')}/{key}"
